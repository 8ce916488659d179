import errno
import importlib
import inspect
import re
import subprocess
import sys

import docstring_parser
import pytest

import lightning_rcnn
from lightning_rcnn.cli.registry import GROUPS, TOOLS, TRAINING
from lightning_rcnn.errors import PassingError
from lightning_rcnn.launchers import HEALING


def test_help_lists_every_command_with_a_line(run):
    outcome = run("--help")
    assert outcome.status == 0
    for name in [*TRAINING, *TOOLS]:
        assert any(line.strip().startswith(f"{name} ") for line in outcome.out.splitlines()), name


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_help_of_a_group_lists_its_commands(run, group):
    outcome = run(group, "--help")
    assert outcome.status == 0
    for name in TOOLS:
        if name.startswith(f"{group} "):
            assert f"\n  {name.removeprefix(f'{group} ')} " in outcome.out


def test_without_a_command_the_help_is_shown_and_the_status_is_1(run):
    assert run().status == 1
    assert run("pack").status == 1


def test_the_interpreter_looks_for_no_cycles_at_the_end():
    """That takes more than a second of a core, after everything that a training imports."""
    program = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"
        "from lightning_rcnn.cli import main\n"
        "main(['--version'])"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert outcome.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize(("job", "status"), [("", 1), (f"{HEALING} token", 70), ("another launcher's", 1)])
def test_an_error_that_may_pass_asks_for_another_start_where_ranks_start_again(run, monkeypatch, job, status):
    def fail(words):
        raise PassingError("last.ckpt: rank 1 sees another one")

    monkeypatch.setattr("lightning_rcnn.cli._dispatch", fail)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
    assert run("fit").status == status


@pytest.mark.parametrize(("job", "status"), [("", 1), (f"{HEALING} token", 70)])
def test_so_does_a_stale_file_of_a_network_file_system(run, monkeypatch, job, status):
    def fail(words):
        raise OSError(errno.ESTALE, "Stale file handle", "runs/a/config.yaml")

    monkeypatch.setattr("lightning_rcnn.cli._dispatch", fail)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
    outcome = run("fit")
    assert outcome.status == status
    assert "runs/a/config.yaml: Stale file handle" in outcome.err or job  # in such a job one process says it


@pytest.mark.parametrize(("name", "shown"), [("runs/a/config.yaml", "runs/a/config.yaml"), (None, "a file")])
def test_a_full_disk_is_one_line(error_line, monkeypatch, name, shown):
    def fail(words):
        raise OSError(errno.ENOSPC, "No space left on device", name)

    monkeypatch.setattr("lightning_rcnn.cli._dispatch", fail)
    assert error_line("fit") == f"{shown}: No space left on device (make room and start again; --debug shows where)"


def test_version(run):
    assert run("--version").out.strip() == f"lightning-rcnn {lightning_rcnn.__version__}"


def test_unknown_commands_are_named_with_a_suggestion(error_line):
    assert error_line("fti").startswith("fti: no such command; did you mean fit?")
    assert error_line("pack", "vco").startswith("pack vco: no such command; did you mean pack voc?")
    assert error_line("pakc").startswith("pakc: no such command; did you mean pack?")


def test_help_needs_no_torch():
    program = (
        "import sys; from lightning_rcnn.cli import main; main(['--help']); main(['pack', '--help']);"
        "sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_every_argument_of_a_tool_is_explained(run, name):
    tool = TOOLS[name]
    function = getattr(importlib.import_module(tool.module), tool.function)
    parameters = inspect.signature(function).parameters
    assert {one.arg_name for one in docstring_parser.parse(function.__doc__).params} == set(parameters)
    outcome = run(*name.split(), "--help")
    assert outcome.status == 0
    for argument, parameter in parameters.items():
        flag = argument if parameter.kind is parameter.POSITIONAL_ONLY else f"--{argument}"
        assert re.search(rf"^  {flag}\b", outcome.out, re.MULTILINE), flag


def test_interrupt_gives_one_line(run, monkeypatch):
    def press_ctrl_c(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning_rcnn.cli.commands.pack.pack_shapes", press_ctrl_c)
    monkeypatch.setattr("lightning_rcnn.cli.tools.run_tool", press_ctrl_c)
    outcome = run("pack", "shapes", "--out", "x", "--num", "1")
    assert (outcome.status, outcome.err) == (130, "lightning-rcnn: interrupted\n")


def test_debug_shows_where_an_error_comes_from(run):
    assert "Traceback" not in run("pack", "shapes").err
    assert "Traceback" in run("pack", "shapes", "--debug").err


def test_an_error_of_the_system_is_one_line_that_names_the_file(error_line, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "shards/train-000003.tar")

    monkeypatch.setattr("lightning_rcnn.cli.tools.run_tool", full)
    assert error_line("pack", "shapes").startswith("shards/train-000003.tar: No space left on device")
