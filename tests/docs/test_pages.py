"""What the pages say is so: commands and options exist, code runs, logged keys and names in code are those listed."""

import csv
import importlib
import io
import itertools
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from PIL import Image

import lightning_rcnn
from lightning_rcnn import KeypointRCNN
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.callbacks.analysis_logging import WANDB_KEYS
from lightning_rcnn.callbacks.detection_images import LOG_KEY
from lightning_rcnn.cli import main
from lightning_rcnn.cli.board_sections import SECTIONS
from lightning_rcnn.cli.commands.board import PINNED_COLUMNS
from lightning_rcnn.cli.commands.pack import pack_shapes
from lightning_rcnn.cli.composing import compose
from lightning_rcnn.cli.detection_cli import DetectionCLI
from lightning_rcnn.cli.known_classes import CLASSES
from lightning_rcnn.cli.known_keys import KnownKeys
from lightning_rcnn.cli.registry import GROUPS, TOOLS, TRAINING
from lightning_rcnn.cli.tools import ToolParser, tool_parser
from lightning_rcnn.healing.command import launcher_parser
from lightning_rcnn.parts import part
from tests.restoring import restored

PROJECT = Path(lightning_rcnn.__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "configs/**/*.md", "slurm/*.md")
    for path in PROJECT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
GLOBAL_OPTIONS = {"--help", "--version", "--print_shtab", "--debug"}
OTHERS_OPTIONS = {
    *("--cpus-per-task", "--nodes", "--pty", "--signal"),
    *("--max-restarts", "--shm-size", "--forward-signals"),
    *("--logdir", "--backend-store-uri"),
    *("--config-file", "--num-gpus", "--eval-only", "--resume", "--input", "--output"),
    *("--dataset", "--model", "--test-only"),
}
"""Of SLURM, torchrun, Docker, W&B's agent, TensorBoard, MLflow, detectron2 and torchvision's references."""
DETECTORS = (
    "mask_rcnn/r50_fpn_coco.yaml",
    "cascade_mask_rcnn/r50_fpn_1x_coco.yaml",
    "keypoint_rcnn/r50_fpn_coco.yaml",
    "fast_rcnn/alexnet_voc.yaml",
    "rcnn/alexnet_voc_2_classification.yaml",
    "rcnn/alexnet_voc_3_box_regression.yaml",
)
"""Configurations of which one has to know an option."""
TINY = """
base: configs/mask_rcnn/r18_fpn_shapes.yaml
trainer: {max_epochs: 1, check_val_every_n_epoch: 1, accelerator: cpu, log_every_n_steps: 1, callbacks: []}
data: {batch_size: 2, num_workers: 0}
model:
  init_args:
    preprocessing: {min_size: 64, max_size: 96}
    backbone: {init_args: {channels: 16}}
    rpn: {pre_nms_top_n: [50, 50], post_nms_top_n: [20, 20]}
    box: {head: {width: 16}, score_threshold: 0.0}
    mask: {width: 8, num_layers: 1}
"""


class Block(NamedTuple):
    page: str
    text: str


def blocks(language: str) -> list[Block]:
    """The code of one language, page by page; files that pages show (`{.python}`) are tested in test_examples.py."""
    return [
        Block(path.relative_to(PROJECT).as_posix(), text)
        for path in PAGES
        for text in re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    ]


def commands(block: Block) -> Iterator[list[str]]:
    """The words after `lightning-rcnn` in a bash block; of a loop, those of its first turn."""
    variables: dict[str, str] = {}
    for line in block.text.replace("\\\n", " ").splitlines():
        if loop := re.search(r"\bfor (\w+) in ([^;\s]+)", line):
            variables[loop[1]] = loop[2]
        if assigned := re.match(r'(\w+)="(.*)"$', line):
            variables[assigned[1]] = assigned[2]
        for name, value in variables.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line, comments=True)
        if "lightning-rcnn" in words:
            yield words[words.index("lightning-rcnn") + 1 :]
        elif words[:1] == ["sbatch"]:
            script = next(number for number, word in enumerate(words) if word.endswith(".sbatch"))
            yield ["fit", *words[script + 1 :]]


def inline_code() -> Iterator[tuple[str, str]]:
    """Page and text of what stands in backquotes outside of blocks."""
    for path in PAGES:
        prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        yield from ((path.relative_to(PROJECT).as_posix(), text) for text in re.findall(r"`([^`]+)`", prose))


@pytest.fixture(scope="module")
def cli() -> Callable[[str], DetectionCLI]:
    """The command line of `fit` and its like with its parser, before it has read anything."""
    made = []

    class ParserOnly(DetectionCLI):
        def parse_arguments(self, parser, args):
            made.append(self)
            raise StopIteration

    @cache
    def cli_of(command: str) -> DetectionCLI:
        with pytest.raises(StopIteration):
            ParserOnly([command])
        return made[-1]

    return cli_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory of someone who reads the pages, after a first training."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("examples", "configs"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "mask.yaml").write_text("base: tiny.yaml\n")
    (folder / "photos").mkdir()
    for number in range(2):
        Image.new("RGB", (96, 64), (90, 60, 30)).save(folder / "photos" / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch, restored():
        patch.chdir(folder)
        for seed, (name, num) in enumerate((("train", 4), ("val", 2))):
            pack_shapes(folder / "shards" / name, num=num, seed=seed, workers=1)
        words = (
            "fit --config tiny.yaml --data.train shards/train --data.val shards/val --run_dir runs/mine --analysis true"
        )
        assert main([*words.split(), "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "logs"]) == 0
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "examples"]:
        del sys.modules[name]


def parser_of(name: str) -> ToolParser:
    tool = TOOLS[name]
    return tool_parser(name, getattr(importlib.import_module(tool.module), tool.function))


def parse(cli: DetectionCLI, words: list[str]) -> None:
    """Parse the words of `fit` and its like to the end, with all types, and stop there."""
    with pytest.raises(SystemExit) as stop, redirect_stdout(io.StringIO()):
        DetectionCLI.parse_arguments(cli, cli.parser, [*words, "--print_config"])
    assert stop.value.code == 0


@pytest.mark.parametrize("block", blocks("bash"), ids=lambda block: block.page)
@pytest.mark.end_to_end
def test_commands_and_their_options_exist(block, place, cli):
    for words in commands(block):
        command, *rest = words
        if command in GLOBAL_OPTIONS:
            continue
        if command in TRAINING:
            if not any(word.endswith("help") for word in rest):
                parse(cli(command), words)
            continue
        name, rest = (f"{command} {rest[0]}", rest[1:]) if command in GROUPS else (command, rest)
        assert name in TOOLS, words
        parser_of(name).parse_args(rest)


def is_option(keys: KnownKeys, option: str, content: dict) -> bool:
    try:
        keys.check_flags([option], content)
    except lightning_rcnn.InputError:
        return False
    return True


def test_options_and_settings_in_the_text_exist(cli):
    known = GLOBAL_OPTIONS | OTHERS_OPTIONS
    known |= {option for name in TOOLS for action in parser_of(name)._actions for option in action.option_strings}
    others = (cli("show")._subcommand_parsers["show"], launcher_parser())
    known |= {option for parser in others for action in parser._actions for option in action.option_strings}
    keys = KnownKeys(cli("fit")._subcommand_parsers["fit"], CLASSES)
    contents = [compose([PROJECT / "configs" / name]).content for name in DETECTORS]
    for content, logger in zip(contents, ("DetectionWandbLogger", "DetectionMLFlowLogger"), strict=False):
        content["trainer"]["logger"] = {"class_path": f"lightning_rcnn.callbacks.{logger}"}
    for page, text in inline_code():
        options = re.findall(r"(?<!\S)--[a-z][\w.-]*", text)
        options += [f"--{text}"] if re.fullmatch(r"(model|data|trainer)(\.[a-z_]+)+", text) else []
        for option in {option.removesuffix(".") for option in options} - known:
            assert any(is_option(keys, option, content) for content in contents), f"{page}: `{text}`"


@pytest.mark.end_to_end
@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.page)
def test_configurations_are_accepted(block, place, cli):
    file = place / "block.yaml"
    file.write_text(block.text)
    under = [] if "model" in yaml.safe_load(block.text) else ["--config", "tiny.yaml"]
    parse(cli("fit"), ["fit", *under, "--config", "block.yaml"])


@pytest.mark.parametrize("page", sorted({block.page for block in blocks("python")}))
def test_python_runs(page, place):
    """The blocks of one page, one after the other, as a reader types them."""
    names: dict = {}
    for block in blocks("python"):
        if block.page == page:
            exec(compile(block.text, page, "exec"), names)


def cells_of_keys(page: str) -> set[str]:
    """What stands in backquotes in the first column of a page's tables, and looks like a logged key."""
    rows = re.findall(r"^\| (`.*?) \|", (PROJECT / "docs" / page).read_text(), flags=re.MULTILINE)
    keys = {key for row in rows for key in re.findall(r"`([^`]+)`", row)}
    return {key for key in keys if key == "epoch" or re.match(r"(train|val|throughput|profile)/", key)}


def test_every_logged_key_is_listed_and_no_other(place):
    """Against what the training of the fixture gave to its logger, and what W&B and a GPU bring on top."""
    (file,) = place.glob("logs/**/metrics.csv")
    with file.open() as lines:
        logged = set(next(csv.reader(lines))) - {"step"}
    names = [category.name for category in lightning_rcnn.read_index(str(place / "shards" / "train")).categories]
    general = {re.sub(rf"/({'|'.join(names)})$", "/<class>", key) for key in logged}
    general |= {f"val/{key}" for key in WANDB_KEYS}
    keypoints = KeypointRCNN(["<class>"], backbone=part(ResNetFPN, name="resnet18"), keypoint={"width": 8})
    keys = {f"train/{name}" for name in keypoints.loss_names} | keypoints.validation_metric_names()
    general |= {key for key in keys if "keypoint" in key and "max_detections" not in key} | {f"{LOG_KEY}_keypoints"}
    # The detector of the fixture finds nothing, so no threshold is best.
    general |= {LOG_KEY, "throughput/gpu_memory_gb", "val/f1_threshold"}
    general |= {f"profile/{part}_seconds" for part in ("step", "forward", "backward", "optimizer")}
    assert cells_of_keys("logging.md") == general


def test_sweeps_have_a_logged_metric():
    names = {yaml.safe_load(path.read_text())["metric"]["name"] for path in PROJECT.glob("configs/sweeps/*.yaml")}
    assert names
    assert names <= cells_of_keys("logging.md")


ANALYSIS = re.compile(r"\^?val/(f1|errors/|precision_recall|confusion|error_table|class_table)")
"""Keys of the error analysis on the board; they are either all in the page, or none of them."""


def test_the_board_shows_logged_keys():
    """So that a key that is renamed does not leave a panel empty."""
    logged = cells_of_keys("logging.md")
    panels = [panel for section in SECTIONS for panel in section.panels]
    shown = {getattr(panel, "pattern", "") or getattr(panel, "key", "") for panel in panels} - {""}
    shown |= {key.removeprefix("best/") for panel in panels for key in getattr(panel, "keys", ())}
    shown |= {key.removeprefix("best/") for key in PINNED_COLUMNS}
    matched = {name for name in shown if name.startswith("^") and any(re.match(name, key) for key in logged)}
    unknown = shown - logged - matched
    assert len(shown) > 30
    assert unknown in (set(), set(filter(ANALYSIS.match, shown)))


def test_the_run_folder_is_as_described(place):
    text = (PROJECT / "docs" / "start.md").read_text()
    table = text[text.index("| file |") : text.index("## Stop and continue")]
    listed = re.findall(r"^\| `([^`]+)` ", table, flags=re.MULTILINE)
    assert len(listed) > 4
    for path in listed:
        assert path == "wandb/" or (place / "runs" / "mine" / path).exists(), path


def rows(page: str, heading: str) -> list[tuple[str, ...]]:
    """The rows of the table under a heading."""
    text = (PROJECT / page).read_text().partition(f"\n{heading}\n")[2]
    lines = itertools.takewhile(lambda line: not line.startswith("## "), text.splitlines())
    table = [line for line in lines if line.startswith("|")][2:]
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in table]


@pytest.mark.parametrize("row", rows("docs/architecture.md", "## Where is what"), ids=lambda row: row[0])
def test_what_is_looked_for_is_in_its_file(row):
    _, places, wanted = row
    paths = [PROJECT / "lightning_rcnn" / path for path in re.findall(r"`([^`]+)`", places)]
    wanted = wanted.strip("`")
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    assert all(path.exists() for path in paths)
    assert any(file.name == wanted or (file.suffix == ".py" and wanted in file.read_text()) for file in files)


@pytest.mark.parametrize(
    ("page", "heading", "column"),
    [
        ("docs/architecture.md", "## The way of a batch", 1),
        ("docs/architecture.md", "## Rooms", 0),
        ("CONTRIBUTING.md", "## How to add", 2),
    ],
)
def test_files_that_are_named_exist(page, heading, column):
    named = [path for row in rows(page, heading) for path in re.findall(r"`([^`]+)`", row[column])]
    assert len(named) > 5
    for path in named:
        assert (PROJECT / "lightning_rcnn" / path).exists(), path


def test_every_public_name_is_in_the_reference():
    page = (PROJECT / "docs" / "reference.md").read_text()
    listed = {path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)", page, flags=re.MULTILINE)}
    listed |= {name for names in re.findall(r"members: \[(.*?)\]", page) for name in names.split(", ")}
    assert set(lightning_rcnn.__all__) <= listed


def test_a_released_version_has_a_date():
    (heading,) = re.findall(
        rf"^## {re.escape(lightning_rcnn.__version__)} - (.*)$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", heading)


def test_the_readme_is_short():
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 130
