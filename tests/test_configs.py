"""Every configuration can be built, and its header has the command that runs it."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from wandb import wandb_agent

import lightning_rcnn
from lightning_rcnn.cli.commands.pack import pack_shapes
from lightning_rcnn.cli.composing import compose
from lightning_rcnn.cli.detection_cli import DetectionCLI

CONFIGS = Path(lightning_rcnn.__file__).parents[1] / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
RUNS = [path for path in FILES if path.parent.name not in ("trainer", "data", "common", "sweeps")]
PARTS = [path for path in FILES if path.parent.name in ("trainer", "data")]
SWEEPS = [path for path in FILES if path.parent.name == "sweeps"]


def name_of(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def header_of(path: Path) -> str:
    lines = path.read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(lines[:end])


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    pack_shapes(folder / "shapes", num=2, workers=1)
    return folder / "shapes"


@pytest.fixture
def build(shards, tmp_path, monkeypatch):
    """Builds what a `fit` with these words would train, on a machine without GPU and without network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DetectionCLI, "_run_subcommand", lambda self, subcommand: None)
    machine = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.logger", "false"]

    def build_run(*words):
        data = ["--data.train", str(shards), "--data.val", str(shards)]
        return DetectionCLI(["fit", *words, *data, *machine, "--model.backbone.weights", "null"])

    return build_run


def assert_holds(settings, given):
    """The given settings are in the built ones, below the class paths that they add."""
    for key, value in given.items():
        held = settings["init_args"][key] if key not in settings else settings[key]
        if isinstance(value, dict):
            assert_holds(held, value)
        elif key == "class_path":
            assert held.rpartition(".")[2] == value
        elif key != "weights":
            assert held == value, key


@pytest.mark.parametrize("path", RUNS, ids=name_of)
def test_a_run_is_built_from_its_file_alone(build, path):
    cli = build("--config", str(path))
    given = compose([path]).content
    assert cli.trainer.max_epochs == given["trainer"]["max_epochs"]
    assert cli.datamodule.batch_size == given["data"]["batch_size"]
    assert type(cli.model).__name__ == given["model"]["class_path"]
    assert_holds(cli.model.hparams, given["model"]["init_args"])


@pytest.mark.parametrize("path", PARTS, ids=name_of)
def test_a_part_can_be_added_to_any_run(build, path):
    cli = build("--config", str(CONFIGS / "faster_rcnn" / "r18_fpn_shapes.yaml"), "--config", str(path))
    assert cli.trainer is not None


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_there_is_a_header(path):
    assert header_of(path)


@pytest.mark.parametrize("path", RUNS, ids=name_of)
def test_the_header_has_the_command(path):
    command = " ".join(re.sub(r"^#", "", line) for line in header_of(path).splitlines())
    assert f"lightning-rcnn fit --config configs/{name_of(path)} " in re.sub(r"\s+", " ", command)
    assert "--data.train" in command
    assert "--data.val" in command


def choices_of(parameter):
    """The values of a parameter of a sweep; of a distribution its ends."""
    ends = [parameter[end] for end in ("min", "max") if end in parameter]
    return parameter.get("values") or ends


@pytest.fixture
def words_of_agent(tmp_path, monkeypatch):
    """The words with which `wandb agent` itself starts a run of a sweep."""
    started = []
    for variable in ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(variable, str(tmp_path))  # which the agent sets, and this takes back
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setattr(wandb_agent, "AgentProcess", lambda command, **_: started.append(command) or SimpleNamespace())

    def words(sweep, values):
        agent = wandb_agent.Agent(api=None, queue=None, sweep_id="sweep")
        agent._sweep_command = list(sweep["command"])
        arguments = {key: {"value": value} for key, value in values.items()}
        agent._command_run({"run_id": "abc", "program": sweep["program"], "args": arguments})
        return started[-1]

    return words


@pytest.mark.parametrize("path", SWEEPS, ids=name_of)
def test_a_sweep_sets_what_a_run_takes(build, words_of_agent, tmp_path, path):
    """Every value of every parameter, in as few runs as that takes; early termination has time to act."""
    (tmp_path / "configs").symlink_to(CONFIGS)
    assert f"wandb sweep configs/{name_of(path)}" in header_of(path)
    sweep = yaml.safe_load(path.read_text())
    choices = {key: choices_of(parameter) for key, parameter in sweep["parameters"].items()}
    for turn in range(max(map(len, choices.values()))):
        values = {key: options[turn % len(options)] for key, options in choices.items()}
        program, command, *words = words_of_agent(sweep, values)
        assert (program, command) == ("lightning-rcnn", "fit")
        cli = build(*words)
        assert cli.run_dir.name.endswith("-abc")
        for key, value in values.items():
            held = cli.model.hparams
            for name in key.removeprefix("model.").split("."):
                held = held.get("init_args", held)[name]
            given = yaml.safe_load(value) if isinstance(value, str) else value
            if isinstance(given, dict):
                assert_holds(held, given)
            else:
                assert held == given, key
    if early := sweep.get("early_terminate"):
        validations = cli.trainer.max_epochs // cli.trainer.check_val_every_n_epoch
        assert early["min_iter"] * early["eta"] <= validations, "at least two brackets"
