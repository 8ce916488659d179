"""detectron2's cascades, PointRend and models with trained norms, under the names of its modules."""

from pathlib import Path

import pytest
import torch

from lightning_rcnn.checkpoints.detectron2 import translate
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.detectors.loading import from_translation

from .test_detectron2 import cells, layer, shapes_of

pytestmark = pytest.mark.end_to_end

CLASSES = 5


def drawn(shapes):
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=generator) * 0.05 for name, shape in shapes.items()}
    return state | cells([[32], [64], [128], [256], [512]])


def without(shapes, *starts):
    return {name: shape for name, shape in shapes.items() if not name.startswith(starts)}


def cascade(masks):
    shapes = without(shapes_of("R50", "fpn", masks, CLASSES), "roi_heads.box_head", "roi_heads.box_predictor")
    for number in range(3):
        shapes |= layer(f"roi_heads.box_head.{number}.fc1", 32, 256 * 49)
        shapes |= layer(f"roi_heads.box_head.{number}.fc2", 32, 32)
        shapes |= layer(f"roi_heads.box_predictor.{number}.cls_score", CLASSES + 1, 32)
        shapes |= layer(f"roi_heads.box_predictor.{number}.bbox_pred", 4, 32)
    return shapes


def point_rend():
    shapes = without(shapes_of("R50", "fpn", True, CLASSES), "roi_heads.mask_head")
    head = "roi_heads.mask_head."
    shapes |= layer(f"{head}coarse_head.reduce_spatial_dim_conv", 256, 256, 2, 2)
    shapes |= layer(f"{head}coarse_head.fc1", 64, 256 * 49) | layer(f"{head}coarse_head.fc2", 64, 64)
    shapes |= layer(f"{head}coarse_head.prediction", CLASSES * 49, 64)
    for number, channels in enumerate((256, 32, 32), 1):
        shapes |= layer(f"{head}point_head.fc{number}", 32, channels + CLASSES, 1)
    return shapes | layer(f"{head}point_head.predictor", CLASSES, 32 + CLASSES, 1)


def keypoints():
    shapes = without(shapes_of("R50", "fpn", False, 1))
    for number in range(1, 9):
        shapes |= layer(f"roi_heads.keypoint_head.conv_fcn{number}", 32, 256 if number == 1 else 32, 3, 3)
    shapes["roi_heads.keypoint_head.score_lowres.weight"] = (32, 17, 4, 4)
    shapes["roi_heads.keypoint_head.score_lowres.bias"] = (17,)
    return shapes


def norms(name, channels, kind):
    items = ("weight", "bias") if kind == "group_norm" else ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.norm.{item}": (channels,) for item in items}


def with_norms(kind, is_jittered):
    """Norms in backbone, pyramid and heads; four convolutions in the box head; two in the RPN of the jittered ones."""
    shapes = without(shapes_of("R50", "fpn", True, CLASSES), "roi_heads.box_head", "roi_heads.mask_head.mask_fcn")
    if kind == "group_norm":
        shapes = {name: shape for name, shape in shapes.items() if "running" not in name}
    for level in range(2, 6):
        for block in ("lateral", "output"):
            del shapes[f"backbone.fpn_{block}{level}.bias"]
            shapes |= norms(f"backbone.fpn_{block}{level}", 256, kind)
    for number in range(1, 5):
        shapes[f"roi_heads.box_head.conv{number}.weight"] = (256, 256, 3, 3)
        shapes |= norms(f"roi_heads.box_head.conv{number}", 256, kind)
        shapes[f"roi_heads.mask_head.mask_fcn{number}.weight"] = (32, 256 if number == 1 else 32, 3, 3)
        shapes |= norms(f"roi_heads.mask_head.mask_fcn{number}", 32, kind)
    shapes |= layer("roi_heads.box_head.fc1", 32, 256 * 49)
    shapes["roi_heads.mask_head.deconv.weight"] = (32, 32, 2, 2)
    shapes["roi_heads.mask_head.deconv.bias"] = (32,)
    shapes |= layer("roi_heads.mask_head.predictor", CLASSES, 32, 1, 1)
    if is_jittered:
        shapes = without(shapes, "proposal_generator.rpn_head.conv")
        for number in range(2):
            shapes |= layer(f"proposal_generator.rpn_head.conv.conv{number}", 256, 256, 3, 3)
    return shapes


def deformable(channels):
    shapes = shapes_of("R50", "fpn", False, CLASSES)
    for stage, num_blocks in ((3, 4), (4, 6), (5, 3)):
        for block in range(num_blocks):
            name = f"backbone.bottom_up.res{stage}.{block}.conv2_offset"
            shapes |= layer(name, channels, 64 * 2 ** (stage - 2), 3, 3)
    return shapes


def first_point_rend():
    """The names with which PointRend was published, before version 2 of its heads."""
    older = {}
    for name, shape in point_rend().items():
        name = name.replace("mask_head.coarse_head.fc", "mask_coarse_head.coarse_mask_fc")
        name = name.replace("mask_head.coarse_head.", "mask_coarse_head.")
        older[name.replace("mask_head.point_head.", "mask_point_head.")] = shape
    return older


FAMILY = {
    "deformable v1": (lambda: deformable(18), "FasterRCNN"),
    "cascade": (lambda: cascade(masks=False), "CascadeRCNN"),
    "cascade, masks": (lambda: cascade(masks=True), "CascadeMaskRCNN"),
    "PointRend": (point_rend, "PointRend"),
    "PointRend, first names": (first_point_rend, "PointRend"),
    "keypoints": (keypoints, "KeypointRCNN"),
    "group norm": (lambda: with_norms("group_norm", is_jittered=False), "MaskRCNN"),
    "sync batch norm": (lambda: with_norms("batch_norm", is_jittered=False), "MaskRCNN"),
    "large-scale jitter": (lambda: with_norms("batch_norm", is_jittered=True), "MaskRCNN"),
}


@pytest.fixture(scope="module", params=FAMILY)
def case(request):
    make, class_name = FAMILY[request.param]
    state = drawn(make())
    translation = translate(WeightFile(Path("model_final.pkl"), state))
    return request.param, class_name, state, translation, from_translation(translation)


def test_every_weight_has_its_place(case):
    _, class_name, state, translation, detector = case
    assert type(detector).__name__ == class_name
    assert translation.unexpected == []
    assert [name for name in translation.left if not name.endswith("num_batches_tracked")] == []
    ours = detector.state_dict()
    for theirs, name in translation.names.items():
        value = state[theirs].roll(1, dims=0) if "cls_score" in theirs else state[theirs]
        assert torch.equal(ours[name], value), theirs
    assert len(set(translation.names.values())) == len(translation.names)


def test_settings_are_those_of_the_configuration(case):
    kind, _, _, _, detector = case
    settings = detector.init_args
    backbone, box, mask = (settings.get(key, {}) for key in ("backbone", "box", "mask"))
    backbone, box, mask = (one.get("init_args", one) for one in (backbone, box, mask))
    if kind.startswith("cascade"):
        assert (box["class_agnostic"], tuple(box["stage_ious"]), box["box_loss"]["init_args"]["beta"]) == (
            True,
            (0.6, 0.7),
            0.0,
        )
        assert tuple(detector.rpn.settings.post_nms_top_n) == (2000, 1000)
    if kind.startswith("deformable"):
        found = backbone["deformable"]["init_args"]
        assert (list(found["stages"]), found["modulated"], found["groups"]) == ([2, 3, 4], False, 1)
    if kind == "keypoints":
        assert (box["box_loss"]["init_args"]["beta"], tuple(detector.rpn.settings.post_nms_top_n)) == (
            0.5,
            (1500, 1000),
        )
        assert (detector.keypoint.settings.width, detector.keypoint.settings.num_layers) == (32, 8)
        assert (detector.keypoint.settings.score, detector.class_names) == ("probability", ["person"])
    if kind.startswith("PointRend"):
        sizes = {"coarse_hidden": 64, "coarse_width": 256, "width": 32, "coarse_layers": 2, "num_layers": 3}
        assert mask.items() >= (sizes | {"coarse_side": 7, "pooled_size": 14}).items()
        assert box["passes_on"] == "predicted"
    norm = {"group norm": "group_norm", "sync batch norm": "batch_norm", "large-scale jitter": "batch_norm"}.get(kind)
    if norm is None:
        assert (backbone["norm"], backbone["fpn_norm"], backbone["stride_in_1x1"]) == ("frozen_batch_norm", None, True)
        return
    is_jittered = kind == "large-scale jitter"
    assert (backbone["norm"], backbone["fpn_norm"], backbone["stride_in_1x1"]) == (norm, norm, norm == "batch_norm")
    assert backbone["frozen_stages"] == (0 if is_jittered else 2)
    assert detector.rpn.settings.num_layers == (2 if is_jittered else 1)
    assert box["head"]["init_args"] | {"norm": norm, "num_layers": 4, "width": 32} == box["head"]["init_args"]
    assert mask["norm"] == norm


@pytest.mark.parametrize(("channels", "groups"), [(27, 1), (108, 4)])
def test_modulated_offsets_are_told_by_their_number(channels, groups):
    state = {name: torch.zeros(1).expand(shape) for name, shape in deformable(channels).items()}
    settings = translate(WeightFile(Path("model_final.pkl"), state)).hyperparameters["backbone"]["init_args"]
    assert settings["deformable"]["init_args"] == {"stages": [2, 3, 4], "modulated": True, "groups": groups}


def test_classes_of_a_cascade_can_be_dropped():
    translation = translate(WeightFile(Path("model_final.pkl"), drawn(cascade(masks=True))))
    translation.hyperparameters |= {"class_names": list("abcde"), "category_ids": None}
    translation.keep_classes([True, False, True, True, False])
    detector = from_translation(translation)
    assert detector.class_names == ["a", "c", "d"]
    assert detector.box.stages[2].predictor.class_logits.out_features == 4
    assert detector.box.stages[2].predictor.box_deltas.out_features == 4
