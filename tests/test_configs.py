"""Every configuration can be built, and its header has the command that runs it and the source it follows."""

import re
from functools import reduce
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from wandb import wandb_agent

import lightning_rcnn
from lightning_rcnn.checkpoints import detectron2, torchvision
from lightning_rcnn.checkpoints.detectron2_profiles import input_of
from lightning_rcnn.cli.commands.pack import pack_shapes
from lightning_rcnn.cli.composing import compose
from lightning_rcnn.cli.detection_cli import DetectionCLI
from lightning_rcnn.data.pack.shapes import SKELETON
from lightning_rcnn.plain_data import merge
from lightning_rcnn.skeleton import COCO_PERSON

CONFIGS = Path(lightning_rcnn.__file__).parents[1] / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
RUNS = [path for path in FILES if path.parent.name not in ("trainer", "data", "common", "sweeps")]
PARTS = [path for path in FILES if path.parent.name in ("trainer", "data")]
RECIPES = [path for path in RUNS if "# Source: " in path.read_text()]
COMMON = [path for path in FILES if path.parent == CONFIGS / "common"]
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
            assert held.rpartition(".")[2] == value.rpartition(".")[2]
        elif key != "weights":
            assert held == value, key


@pytest.mark.parametrize("path", RUNS, ids=name_of)
@pytest.mark.end_to_end
def test_a_run_is_built_from_its_file_alone(build, path):
    cli = build("--config", str(path))
    composition = compose([path])
    for key in [key for key in composition.turns if composition.replaced_class(key, None)]:
        composition.remove(key)
    given = composition.content
    assert cli.trainer.max_epochs == given["trainer"]["max_epochs"]
    assert cli.datamodule.batch_size == given["data"]["batch_size"]
    assert type(cli.model).__name__ == given["model"]["class_path"]
    assert_holds(cli.model.hparams, given["model"]["init_args"])


@pytest.mark.parametrize("path", PARTS, ids=name_of)
@pytest.mark.end_to_end
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


@pytest.mark.parametrize("path", [*RUNS, *COMMON], ids=name_of)
def test_the_header_has_a_source(path):
    """A paper, an address, or another configuration that has one."""
    header = header_of(path)
    others = [header_of(path.parent / name) for name in re.findall(r"\b[Aa]s (?:in )?(\S+\.yaml)", header)]
    assert re.search(r"arXiv \d{4}\.\d{4,5}|https://", " ".join([header, *others]))


def lines_of(path):
    """What the header of a recipe says, by the first word of the line."""
    text = re.sub(r"\n# {3}", " ", header_of(path))
    return dict(re.findall(r"^# (Source|Expected|Cost|Rate|Differences): (.+)$", text, flags=re.MULTILINE))


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_recipe_says_what_to_expect_at_which_cost_and_rate(path):
    """Its rate and the images of a step are those of its settings, and a page lists the same figures."""
    lines = lines_of(path)
    assert {"Source", "Expected", "Cost", "Rate"} <= lines.keys()
    rate, images, gpus, each = re.match(
        r"(\S+) for (\d+) images a step \((one GPU|eight GPUs) ?(?:with (\w+) each)?", lines["Rate"]
    ).groups()
    content = compose([path]).content
    settings = content["model"]["init_args"]
    assert float(settings["optimizer"]["init_args"]["lr"]) == float(rate)
    assert settings["parameter_groups"]["reference_batch_size"] == int(images)
    assert content["data"]["batch_size"] * {"one GPU": 1, "eight GPUs": 8}[gpus] == int(images)
    assert {"two": 2, "eight": 8, None: int(images)}[each] == content["data"]["batch_size"]
    page = (CONFIGS.parent / "docs" / "recipes.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("|") and f"`{name_of(path)}`" in line)
    assert set(re.findall(r"\b\d\d\.\d\b", lines["Expected"])) <= set(re.findall(r"\b\d\d\.\d\b", row))


@pytest.mark.parametrize(
    ("path", "epochs", "steps", "drops"),
    [
        ("faster_rcnn/r50_fpn_1x_coco.yaml", 12, 90_000, (60_000, 80_000)),
        ("mask_rcnn/r50_fpn_3x_coco.yaml", 37, 270_000, (210_000, 250_000)),
        ("mask_rcnn/r50_fpn_lsj_100_coco.yaml", 100, 184_375, (163_889, 177_546)),
        ("mask_rcnn/r50_fpn_lsj_400_coco.yaml", 400, 737_500, (655_556, 710_184)),
        ("mask_rcnn/r50_fpn_v2_coco.yaml", 400, 400, (352, 384)),
        ("faster_rcnn/r50_fpn_coco.yaml", 26, 26, (16, 22)),
        ("faster_rcnn/r50_c4_0712_voc.yaml", 17, 18_000, (12_000, 16_000)),
    ],
)
def test_schedules_are_those_of_the_sources(path, epochs, steps, drops):
    """Length and drops as their configurations state them, in steps or in epochs."""
    content = compose([CONFIGS / path]).content
    assert content["trainer"]["max_epochs"] == epochs
    milestones = content["model"]["init_args"]["schedule"]["init_args"]["milestones"]
    assert milestones == pytest.approx([drop / steps for drop in drops], abs=1e-5)
    images = {"coco": 118_287, "voc": 16_551}[path.removesuffix(".yaml").rpartition("_")[2]]
    given = steps * content["model"]["init_args"]["parameter_groups"]["reference_batch_size"]
    assert steps == epochs or epochs * images == pytest.approx(given, rel=0.025)


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("path", "theirs"),
    [
        (
            "mask_rcnn/r50_fpn_1x_coco.yaml",
            [
                detectron2.PROFILE,
                detectron2.PYRAMID,
                detectron2.HEAD,
                detectron2.MASKS,
                input_of("resnet50"),
            ],
        ),
        ("mask_rcnn/r50_fpn_v2_coco.yaml", [torchvision.SECOND_VERSION, torchvision.MASKS_OF_SECOND_VERSION]),
    ],
)
def test_settings_are_those_that_convert_gives_to_the_sources_models(build, path, theirs):
    """But for detectron2's resizing by Pillow, from which ours differs by rounding."""
    settings = reduce(merge, theirs)
    settings.get("preprocessing", {}).pop("resize", None)
    assert_holds(build("--config", str(CONFIGS / path)).model.hparams, settings)


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
@pytest.mark.end_to_end
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


@pytest.mark.end_to_end
def test_a_detector_of_keypoints_takes_the_skeleton_of_its_data(shards, tmp_path, monkeypatch):
    """The shards of the other tests have none: then it is COCO's, and the data are refused when a run begins."""
    pack_shapes(tmp_path / "corners", num=2, keypoints=True, workers=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DetectionCLI, "_run_subcommand", lambda self, subcommand: None)
    words = ["fit", "--config", str(CONFIGS / "keypoint_rcnn" / "r18_fpn_shapes.yaml"), "--trainer.accelerator", "cpu"]
    words += ["--trainer.logger", "false"]
    for folder, skeleton in ((shards, COCO_PERSON), (tmp_path / "corners", SKELETON)):
        cli = DetectionCLI([*words, "--data.train", str(folder), "--data.val", str(folder)])
        assert cli.model.skeleton == skeleton
