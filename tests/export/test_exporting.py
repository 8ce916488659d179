"""What is refused, and how: one line, and no file; and the check itself, on runners that are wrong on purpose."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lightning_rcnn import FasterRCNN, FastRCNN, MaskRCNN, RCNNBoxRegression, errors
from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.backbones.swin import SwinFPN
from lightning_rcnn.cli import main
from lightning_rcnn.errors import InputError
from lightning_rcnn.export import exporting
from lightning_rcnn.export.check import Tolerance, compare, draw_scenes, mask_difference, require_equal
from lightning_rcnn.export.graph import ExportGraph
from lightning_rcnn.export.program import trace
from lightning_rcnn.export.pt2 import EXTRA_FILE
from lightning_rcnn.parts import part
from lightning_rcnn.roi_heads.box_head import TwoLayerHead
from lightning_rcnn.roi_heads.cascade_branch import CascadeSettings
from lightning_rcnn.roi_heads.point_rend_branch import PointRendSettings

IMAGES = [image[:, ::4, ::4] for image in draw_scenes()]


class OneLayer(Backbone):
    """One convolution of stride 16, and whatever `extra` does to its map."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 16, stride=16)
        self.strides, self.out_channels = (16,), 8

    def forward(self, images):
        return [self.extra(self.layer(images).relu())]

    def extra(self, features):
        return features


@torch.library.custom_op("tests::double", mutates_args=())
def double(values: torch.Tensor) -> torch.Tensor:
    return values * 2


@double.register_fake
def _(values):
    return torch.empty_like(values)


class WithOwnOperator(OneLayer):
    def extra(self, features):
        return double(features)


class WithDecision(OneLayer):
    def extra(self, features):
        return features if features.sum() > 0 else 2 * features


class WithoutTranslation(OneLayer):
    def extra(self, features):
        return features + torch.special.bessel_j0(features)


def fast_rcnn(backbone=OneLayer):
    torch.manual_seed(0)
    return FastRCNN(
        ["cat", "dog"],
        backbone=backbone(),
        box={"head": {"width": 16}},
        proposals={"limit": 30},
        preprocessing={"min_size": 96, "max_size": 128, "resize": "bilinear"},
    ).eval()


def few_boxes(image):
    """In place of selective search, which takes seconds."""
    _, height, width = image.shape
    return np.array([[x, y, x + width / 2, y + height / 2, 1] for x in (0, 20, 40) for y in (0, 15, 30)], np.float32)


def eager(detector, change=lambda outputs: outputs):
    """A runner that is the detector, and changes what it finds."""
    graph = ExportGraph(detector)
    return lambda arguments: change({name: value.clone() for name, value in graph(*arguments).items()})


def moved(outputs):
    outputs["boxes"][0, 0] += 0.5
    return outputs


def renamed(outputs):
    outputs["labels"][0, 0] = 3 - outputs["labels"][0, 0]
    return outputs


def shortened(outputs):
    outputs["count"] -= 1
    outputs["scores"][:, -1] = 0
    return outputs


@pytest.mark.end_to_end
def test_fast_rcnn_takes_proposals_and_may_have_weights_of_16_bits(tmp_path):
    detector = fast_rcnn()
    rows = detector.export(tmp_path / "fast.pt2", images=IMAGES, half=True)
    assert [row.shape for row in rows] == [(1, 96, 128), (1, 128, 96), (1, 96, 96), (3, 128, 128), (1, 32, 128)]
    assert all(row.detections > 10 for row in rows[:-1])
    assert all(row.boxes < 1e-4 and row.scores < 1e-6 for row in rows)
    extra = {EXTRA_FILE: ""}
    program = torch.export.load(tmp_path / "fast.pt2", extra_files=extra)
    stored = {name.removesuffix(".original"): weight for name, weight in program.state_dict.items()}
    for name, weight in detector.named_parameters():
        held = stored[f"detector.{name}".replace(".weight", ".parametrizations.weight")] if weight.dim() > 1 else None
        assert held is None or (held.dtype == torch.float16 and torch.equal(held, weight.half()))
    about = json.loads(extra[EXTRA_FILE])
    assert about["inputs"] == ["images", "image_sizes", "original_sizes", "proposals"]
    assert about["images"]["dtype"] == "float32"
    assert about["outputs"] == ["boxes", "scores", "labels", "count"]
    assert about["mask_paste"] is None
    assert about["weights"] == "float16"


def test_a_weight_beyond_16_bits_is_refused(tmp_path):
    detector = fast_rcnn()
    with torch.no_grad():
        detector.backbone.layer.weight[0] = 1e5
    with pytest.raises(InputError, match=r"part backbone.layer: a weight is beyond 65504, the range of float16"):
        detector.export(tmp_path / "fast.pt2", half=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.end_to_end
def test_a_cascade_and_rendered_masks_are_one_graph_for_all_sizes():
    torch.manual_seed(0)
    detector = MaskRCNN(
        ["cat", "dog"],
        backbone=OneLayer(),
        rpn={"pre_nms_top_n": [50, 50], "post_nms_top_n": [20, 20]},
        box=CascadeSettings(head=TwoLayerHead(width=16), detections_per_image=10, score_threshold=0.0),
        mask=PointRendSettings(
            pooled_size=4, coarse_width=8, coarse_hidden=16, coarse_side=7, width=8, subdivisions=3, num_layers=1
        ),
        preprocessing={"min_size": 96, "max_size": 128},
    ).eval()
    with torch.no_grad():
        for name, weight in detector.mask.named_parameters():
            weight.mul_(300 if name.endswith("logits.weight") else 1)  # or all probabilities would be one half
    graph = trace(detector).module()
    rows = compare(detector, lambda arguments: graph(*arguments), IMAGES, Tolerance())
    assert all(row.detections >= 10 for row in rows[:-1])
    assert all(row.unmatched == 0 and row.boxes < 1e-4 and row.masks < 1e-5 for row in rows)


def test_one_cell_of_a_thousand_of_a_mask_may_differ():
    masks = torch.zeros(2, 224, 224)
    masks[1, 0, :50] = 1.0
    assert mask_difference(*masks) == 0
    masks[1, 0, 50] = 0.5
    assert mask_difference(*masks) == 0.5
    assert mask_difference(masks[0, :28, :28], masks[1, :28, :28]) == 1.0


@pytest.mark.parametrize(
    ("backbone", "format", "reason"),
    [
        (WithOwnOperator, "pt2", "part backbone: cannot be exported: its operator tests::double"),
        (WithoutTranslation, "onnx", "part backbone: ONNX has no translation of its operator aten::special_bessel_j0"),
        (WithDecision, "pt2", "part backbone: cannot be exported: Could not guard on data-dependent expression"),
    ],
)
@pytest.mark.end_to_end
def test_a_part_that_cannot_be_exported_is_named(tmp_path, backbone, format, reason):
    with pytest.raises(InputError, match=reason) as error:
        fast_rcnn(backbone).export(tmp_path / "fast", format, images=IMAGES)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [moved, renamed])
def test_a_file_that_differs_gets_no_name(tmp_path, monkeypatch, change):
    detector = fast_rcnn()
    detector.search = few_boxes
    monkeypatch.setattr(exporting, "trace", lambda *arguments: None)
    wrong = exporting.Format(
        lambda program, metadata, file: file.write(b"x"), lambda path: (eager(detector, change), "")
    )
    monkeypatch.setitem(exporting.FORMATS, "pt2", wrong)
    reported = []
    with pytest.raises(InputError, match="differs from the detector"):
        exporting.export_detector(detector, tmp_path / "fast.pt2", images=IMAGES, report=reported.extend)
    assert len(reported) == 5
    assert not list(tmp_path.iterdir())


def test_a_detection_at_the_limit_may_miss():
    detector = fast_rcnn()
    detector.search = few_boxes
    rows = compare(detector, eager(detector), IMAGES, Tolerance())
    assert all((row.unmatched, row.boxes, row.scores, row.masks) == (0, 0, 0, 0) for row in rows)
    require_equal(compare(detector, eager(detector, shortened), IMAGES, Tolerance()), Tolerance())


def test_a_file_that_differs_on_some_images_says_what_that_may_mean():
    detector = fast_rcnn()
    detector.search = few_boxes
    rows = compare(detector, eager(detector), IMAGES, Tolerance())
    wrong = [rows[0]._replace(boxes=300.0)]
    with pytest.raises(InputError, match=r"nothing is written\. 4 of 5 batches are equal: .* give other images"):
        require_equal(wrong + rows[1:], Tolerance())
    with pytest.raises(InputError, match=r"nothing is written$"):
        require_equal(wrong, Tolerance())


def test_what_is_asked_for_wrongly_is_one_line(tmp_path, monkeypatch, folder, capsys):
    detector = fast_rcnn()
    with pytest.raises(InputError, match="unknown format 'xml'; give --format, one of pt2, onnx, aoti"):
        detector.export(tmp_path / "fast.xml")
    with pytest.raises(InputError, match="threshold 2: a score is from 0 to 1"):
        detector.export(tmp_path / "fast.pt2", threshold=2)
    with pytest.raises(InputError, match="detections 0: give a whole number"):
        detector.export(tmp_path / "fast.pt2", detections=0)
    alexnet = part(PlainBackbone, name="alexnet")
    rcnn = RCNNBoxRegression(["cat"], backbone=alexnet, regions={"size": 63, "context": 4, "head": {"width": 8}})
    with pytest.raises(
        InputError, match="RCNNBoxRegression: cannot be exported: R-CNN runs its network on each region"
    ):
        rcnn.export(tmp_path / "rcnn.pt2")
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "onnxruntime" else find_spec(name))
    with pytest.raises(
        InputError, match=r"onnxruntime is missing; install it with pip install 'lightning-rcnn\[export"
    ):
        detector.export(tmp_path / "fast.onnx")
    checkpoint = str(folder / "best.ckpt")
    words = ["export", "--checkpoint", checkpoint, "--out"]
    assert main([*words, "/proc/none/fast.pt2"]) == 1
    assert "--out /proc/none/fast.pt2: cannot be written" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "fast.pt2"), "--detections", "0"]) == 1
    assert "--detections 0: has to be 1 or more" in capsys.readouterr().err
    assert main([*words, checkpoint, "--format", "pt2"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, folder, capsys):
    monkeypatch.setattr("lightning_rcnn.export.exporting.trace", lambda *arguments: None)
    full = exporting.Format(lambda program, metadata, file: Path("/dev/full").write_bytes(b"x"), eager)
    monkeypatch.setitem(exporting.FORMATS, "pt2", full)
    out = tmp_path / "fast.pt2"
    assert main(["export", "--checkpoint", str(folder / "best.ckpt"), "--out", str(out)]) == 1
    assert f"--out {out}: cannot be written (No space left on device)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_part_says_why_it_has_no_graph(tmp_path):
    detector = FasterRCNN(["a"], backbone=SwinFPN("swin_t", channels=8), box={"head": {"width": 8}})
    with pytest.raises(InputError, match="SwinFPN: cannot be exported: the windows"):
        detector.export(tmp_path / "detector.pt2")
