"""The examples run, and do what they say."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
import yaml
from PIL import Image

import lightning_rcnn
from lightning_rcnn import FasterRCNN
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.cli import main
from lightning_rcnn.cli.commands.pack import pack_shapes
from lightning_rcnn.detectors.loading import save_detector

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = """
model:
  class_path: FasterRCNN
  init_args:
    preprocessing: {min_size: 64, max_size: 96}
    backbone: {class_path: examples.custom_backbone.TinyBackbone, init_args: {width: 8}}
    rpn: {anchors: {sizes: [16, 32]}, pre_nms_top_n: [50, 50], post_nms_top_n: [20, 20]}
    box: {head: {width: 16}}
    schedule: {class_path: ConstantSchedule, init_args: {warmup_steps: 0}}
    optimizer: {class_path: AdamW, init_args: {lr: 1e-4}}
data:
  num_workers: 0
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a copy of the examples."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in ("examples", "custom_backbone"):
            del sys.modules[name]


@pytest.fixture
def script(workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Runs `python examples/NAME WORDS` in this process, and gives its output."""

    def run(name: str, *words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        monkeypatch.syspath_prepend(str(workplace / "examples"))
        runpy.run_path(str(workplace / "examples" / name), run_name="__main__")
        return capfd.readouterr().out

    return run


def tiny_detector() -> FasterRCNN:
    torch.manual_seed(0)
    return FasterRCNN(
        ["cat", "dog"],
        backbone=ResNetFPN("resnet18", channels=8),
        rpn={"pre_nms_top_n": [50, 50], "post_nms_top_n": [20, 20]},
        box={"head": {"width": 16}},
        preprocessing={"min_size": 64, "max_size": 96},
    )


def documented(name: str) -> dict:
    """The settings of the data that stand in the docstring of an example."""
    docstring = (EXAMPLES / name).read_text().split('"""')[1]
    return yaml.safe_load(docstring[docstring.index("data:") :])["data"]


@pytest.mark.end_to_end
def test_a_backbone_a_box_branch_a_transform_and_a_sampling_by_their_class_paths(workplace):
    for name, num in (("train", 4), ("val", 2)):
        pack_shapes(workplace / name, num=num, workers=1)
    config = yaml.safe_load(TINY)
    config["data"] |= {"train": "train", "val": "val"}
    config["data"] |= documented("custom_transform.py") | documented("custom_sampling.py")
    config["trainer"] = {"accelerator": "cpu", "devices": 1, "max_epochs": 1, "logger": False}
    (workplace / "tiny.yaml").write_text(yaml.safe_dump(config))

    cascade = ["--model.box", "examples.custom_box_branch.CascadeSettings", "--model.box.second_iou", "0.7"]
    assert main(["fit", "--config", "tiny.yaml", "--model.backbone.width", "16", *cascade]) == 0

    model = lightning_rcnn.load("runs/tiny/checkpoints/last.ckpt")
    assert type(model.backbone).__name__ == "TinyBackbone"
    assert model.backbone.out_channels == 16
    assert model.box.second.settings.positive_iou == 0.7
    assert {name for name in model.loss_names if name.startswith("loss_box")} == {"loss_box", "loss_box_second"}
    recorded = yaml.safe_load(Path("runs/tiny/config.yaml").read_text())["data"]
    assert recorded["sampling"] == documented("custom_sampling.py")["sampling"]
    assert [entry["class_path"].rpartition(".")[2] for entry in recorded["train_transforms"]] == [
        "HorizontalFlip",
        "Darken",
        "RandomRotation",
    ]


def test_the_losses_are_those_of_the_papers(workplace):
    """Against torchvision's operators."""
    losses = runpy.run_path(str(workplace / "examples" / "custom_loss.py"))
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    expected = 1 - torchvision.ops.box_iou(boxes, boxes[:1])[:, 0] ** 2
    assert torch.allclose(losses["AlphaIoULoss"](alpha=2.0).of_pairs(boxes, boxes[:1].expand(3, 4)), expected)

    logits = torch.randn(1, 6, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1, 1, 0, 1, 0]])
    weights = torch.tensor([[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]])
    found = losses["FocalLoss"](gamma=2.0).build(1)(logits, SimpleNamespace(labels=labels), weights, None, None, None)
    margin = logits[..., 1] - logits[..., 0]  # two classes that compete are one sigmoid
    each = torchvision.ops.sigmoid_focal_loss(margin, labels.float(), alpha=-1, gamma=2.0)
    assert torch.allclose(found.total, (each * weights).sum())
    assert found.number == 5


def test_the_transform_darkens(workplace):
    darken = runpy.run_path(str(workplace / "examples" / "custom_transform.py"))["Darken"](p=1.0)
    target = {"boxes": torch.ones(1, 4)}
    image, after = darken(torch.full((3, 4, 4), 200, dtype=torch.uint8), target)
    assert image.unique().tolist() == [100]
    assert after is target


@pytest.mark.end_to_end
def test_a_torch_data_set(script):
    line = script("in_memory_dataset.py").strip().splitlines()[-1]
    truth, found = (json.loads(text) for text in line.removeprefix("there is ").split(" and found is "))
    assert max(abs(a - b) for a, b in zip(truth[0], found[0], strict=True)) <= 12


@pytest.mark.end_to_end
def test_fine_tuning_and_inference(script, workplace):
    images = workplace / "images"
    images.mkdir()
    for number in range(4):
        Image.new("RGB", (96, 64), (40 * number, 90, 120)).save(images / f"{number}.png")
    annotations = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 96, "height": 64} for n in range(4)],
        "annotations": [{"id": n, "image_id": n, "category_id": 7, "bbox": [10, 10, 40, 30]} for n in range(4)],
        "categories": [{"id": 7, "name": "bird"}],
    }
    (workplace / "train.json").write_text(json.dumps(annotations))
    save_detector(tiny_detector(), workplace / "tiny.ckpt")

    script("fine_tune.py", images, "train.json", "train.json", "tiny.ckpt", "1")

    model = lightning_rcnn.load("fine_tuned.ckpt")
    assert (model.class_names, model.category_ids) == (["bird"], [7])
    before = dict(lightning_rcnn.load("tiny.ckpt").named_parameters())
    changes = [
        (weight - before[name]).abs().max().item()
        for name, weight in model.named_parameters()
        if weight.shape == before[name].shape
    ]
    assert 0 < max(changes) < 1e-3  # fine-tuned, and not started from initialization

    with torch.no_grad():  # whatever is seen is a bird
        model.box.predictor.class_logits.bias.copy_(torch.tensor([-9.0, 9.0]))
    save_detector(model, workplace / "sure.ckpt")
    out = script("inference.py", "sure.ckpt", images / "0.png", images / "1.png").splitlines()
    assert [line for line in out if not line.startswith("  ")] == [str(images / "0.png"), str(images / "1.png")]
    assert all(line.startswith("  bird 1.00 at ") for line in out if line.startswith("  "))
    assert any(line.startswith("  ") for line in out)


@pytest.mark.end_to_end
def test_everything_of_ones_own_in_one_configuration(workplace):
    shutil.copytree(EXAMPLES.parent / "configs", workplace / "configs")
    for name, num in (("train", 2), ("val", 1)):
        pack_shapes(workplace / name, num=num, workers=1)
    page = (EXAMPLES.parent / "docs" / "extending.md").read_text()
    block = re.search(r"```yaml\n(.*?)```", page, flags=re.DOTALL)[1]
    (workplace / "mine.yaml").write_text(block)
    words = "fit --config mine.yaml --data.train train --data.val val --data.num_workers 0 --data.batch_size 2"
    words += (
        " --trainer.max_epochs 2 --trainer.check_val_every_n_epoch 2 --trainer.logger false --trainer.accelerator cpu"
    )
    words += " --model.rpn.nms_iou 0.6 --data.loading.shuffle_window 512"

    assert main(words.split()) == 0

    model = lightning_rcnn.load("runs/mine/checkpoints/last.ckpt")
    assert type(model.backbone).__name__ == "TinyBackbone"
    assert model.rpn.settings.nms_iou == 0.6
    assert type(model.box.head).__name__ == "ConvolutionsAndLayer"
    assert (model.box.box_loss.settings.weight, model.box.class_loss.settings.gamma) == (5.0, 1.5)
