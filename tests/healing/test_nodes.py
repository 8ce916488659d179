"""The nodes of a training, and which one this is."""

import subprocess
from types import SimpleNamespace

import pytest

from lightning_rcnn.errors import InputError
from lightning_rcnn.healing.network import Address
from lightning_rcnn.healing.nodes import given_nodes, number_of_this

TWO = [Address("a", 1), Address("b", 2)]


def test_nodes_are_as_given():
    assert given_nodes("a:1,b:2", {"SLURM_JOB_NODELIST": "c"}) == TWO


@pytest.mark.parametrize("given", ["a", "a:1,b", ":1", "a:x", ""])
def test_what_is_no_address_is_refused(given):
    with pytest.raises(InputError, match="is not HOST:PORT"):
        given_nodes(given, {})


@pytest.mark.parametrize("environment", [{}, {"SLURM_JOB_NODELIST": "a", "SLURM_JOB_NUM_NODES": "1"}])
def test_one_machine_is_alone(environment):
    (alone,) = given_nodes(None, environment)
    assert alone.host == "127.0.0.1"
    assert number_of_this([alone], None, environment) == 0


def test_in_a_job_they_are_slurms_with_one_port_a_job(monkeypatch):
    answer = SimpleNamespace(stdout="node1\nnode2\n")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: answer if command[-1] == "node[1-2]" else None)
    job = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "10007"}
    assert given_nodes(None, job) == [Address("node1", 20007), Address("node2", 20007)]


def test_slurm_may_not_answer(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="give --nodes"):
        given_nodes(None, {"SLURM_JOB_NODELIST": "a", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "1"})


def test_this_node_is_known_by_its_name_or_its_number():
    assert number_of_this(TWO, None, {"SLURMD_NODENAME": "b"}) == 1
    assert number_of_this(TWO, 0, {"SLURMD_NODENAME": "b"}) == 0
    with pytest.raises(InputError, match="--node 2: --nodes has 2"):
        number_of_this(TWO, 2, {})
    with pytest.raises(InputError, match="which of the nodes a, b"):
        number_of_this(TWO, None, {})
    with pytest.raises(InputError, match="Give --node"):
        number_of_this([Address("a", 1), Address("a", 2)], None, {"SLURMD_NODENAME": "a"})
