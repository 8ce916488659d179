"""The manifest against the fields that Kubeflow's package publishes for JobSet, and against what our code expects."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet
from torch.distributed.run import parse_args

from lightning_rcnn.cli import registry
from lightning_rcnn.stop_signals import EXIT_STATUS
from lightning_rcnn.torchrun import SHUTDOWN_TIMEOUT

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def manifest() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "kubernetes" / "jobset.yaml").read_text())


def job_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"]["replicatedJobs"][0]["template"]["spec"]


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return job_of(manifest)["template"]["spec"]


def is_valid(manifest: dict[str, Any]) -> bool:
    """The published models drop what they do not know, and raise a ValueError for a wrong type."""
    try:
        return contains(JobsetV1alpha2JobSet.from_dict(copy.deepcopy(manifest)).to_dict(), manifest)
    except ValueError:
        return False


def contains(known: Any, given: Any) -> bool:
    """Whether everything that is given is known; what is known besides are defaults."""
    if isinstance(given, dict):
        return isinstance(known, dict) and all(key in known and contains(known[key], given[key]) for key in given)
    if isinstance(given, list):
        return isinstance(known, list) and len(known) == len(given) and all(map(contains, known, given))
    return known == given


def test_it_has_only_fields_and_types_of_the_published_schema(manifest):
    assert is_valid(manifest)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda it: it["spec"]["failurePolicy"].update(maxRestart=3),
        lambda it: it["spec"]["failurePolicy"]["rules"][0].update(onJobFailureReasons="PodFailurePolicy"),
        lambda it: job_of(it).update(backoffLimit="0"),
        lambda it: job_of(it)["podFailurePolicy"]["rules"][1]["onExitCodes"].update(operator="Equals"),
        lambda it: pod_of(it).update(terminationGracePeriod=240),
        lambda it: pod_of(it)["containers"][0]["volumeMounts"][1].update(path="/dev/shm"),
    ],
)
def test_the_schema_finds_mistakes(manifest, mistake):
    mistake(manifest)
    assert not is_valid(manifest)


def test_a_preemption_restarts_without_limit_and_a_fault_stops_after_some(manifest):
    """JobSet's documentation: a job that its pod failure policy fails has the reason `PodFailurePolicy`."""
    policy = manifest["spec"]["failurePolicy"]
    assert [(rule["action"], rule["onJobFailureReasons"]) for rule in policy["rules"]] == [
        ("RestartJobSetAndIgnoreMaxRestarts", ["PodFailurePolicy"])
    ]
    assert policy["maxRestarts"] < 10
    job = job_of(manifest)
    disrupted, saved = job["podFailurePolicy"]["rules"]
    assert {disrupted["action"], saved["action"]} == {"FailJob"}
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert saved["onExitCodes"] == {"containerName": "train", "operator": "In", "values": [EXIT_STATUS]}
    assert (job["backoffLimit"], job["completionMode"]) == (0, "Indexed")
    assert pod_of(manifest)["restartPolicy"] == "Never"  # a pod failure policy requires it


def test_there_is_time_to_save_and_shared_memory_for_the_ranks(manifest):
    pod = pod_of(manifest)
    assert pod["terminationGracePeriodSeconds"] >= SHUTDOWN_TIMEOUT + 30
    (train,) = pod["containers"]
    name = next(mount["name"] for mount in train["volumeMounts"] if mount["mountPath"] == "/dev/shm")
    volume = next(volume for volume in pod["volumes"] if volume["name"] == name)
    assert volume["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize("index", ["0", "1"])
def test_torchrun_gets_the_nodes_of_the_job(manifest, index):
    """Kubernetes replaces `$(NAME)`; JobSet's host names are SET-JOB-REPLICA-INDEX.SET."""
    job, (train,) = job_of(manifest), pod_of(manifest)["containers"]
    variables = {each["name"]: each["value"] for each in train["env"] if "value" in each}
    words = list(train["args"])
    for name, value in {**variables, "JOB_COMPLETION_INDEX": index}.items():
        words = [word.replace(f"$({name})", value) for word in words]
    assert not any("$(" in word for word in words)
    assert train["command"] == ["python", "-m", "lightning_rcnn.torchrun"]
    arguments = parse_args(words)
    assert arguments.nnodes == str(job["completions"]) == str(job["parallelism"])
    assert arguments.nproc_per_node == train["resources"]["limits"]["nvidia.com/gpu"]
    assert arguments.node_rank == int(index)
    name, replicated = manifest["metadata"]["name"], manifest["spec"]["replicatedJobs"][0]["name"]
    assert arguments.master_addr == f"{name}-{replicated}-0-0.{name}"
    assert [port["containerPort"] for port in train["ports"]] == [arguments.master_port]
    assert (arguments.module, arguments.training_script) == (True, "lightning_rcnn")
    command, *options = arguments.training_script_args
    assert command in registry.TRAINING
    assert "--ckpt_path=last" in options
    config = next(option.partition("=")[2] for option in options if option.startswith("--config="))
    assert (REPOSITORY / config).exists()
