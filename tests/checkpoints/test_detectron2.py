"""Layouts and conventions of detectron2, each against numbers worked out here by hand.

The state dicts are generated under detectron2's names, such as `backbone.bottom_up.res2.0.conv1.norm.weight`.
"""

import math
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.dc5 import ResNetDC5
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.checkpoints.detectron2 import translate
from lightning_rcnn.checkpoints.formats import translate as translate_file
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.translation import flat_settings
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import merge

DETECTORS = {"FasterRCNN": FasterRCNN, "MaskRCNN": MaskRCNN}
HERE = Path("model_final.pkl")
BLOCKS = {"R50": (3, 4, 6, 3), "R101": (3, 4, 23, 3), "X101": (3, 4, 23, 3), "X152": (3, 8, 36, 3)}
CASES = [
    ("R50", "fpn", True),
    ("R50", "fpn", False),
    ("R50", "c4", True),
    ("R50", "dc5", True),
    ("R101", "c4", False),
    ("X101", "fpn", True),
]


def convolution(name, after, before, size=1):
    return {name: (after, before, size, size)}


def normed(name, after, before, size=1):
    shapes = convolution(f"{name}.weight", after, before, size)
    return shapes | {f"{name}.norm.{item}": (after,) for item in ("weight", "bias", "running_mean", "running_var")}


def stage(prefix, number, num_blocks, groups):
    """Shapes of a stage, 2 to 5, of bottlenecks."""
    out = 256 * 2 ** (number - 2)
    width = out if groups == 32 else out // 4
    shapes = {}
    for block in range(num_blocks):
        name = f"{prefix}res{number}.{block}"
        before = out if block else (64 if number == 2 else out // 2)
        if not block:
            shapes |= normed(f"{name}.shortcut", out, before)
        shapes |= normed(f"{name}.conv1", width, before)
        shapes |= normed(f"{name}.conv2", width, width // groups, 3)
        shapes |= normed(f"{name}.conv3", out, width)
    return shapes


def layer(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def shapes_of(depth, neck, masks, num_classes):
    groups = 32 if depth.startswith("X") else 1
    body = "backbone.bottom_up." if neck == "fpn" else "backbone."
    shapes = normed(f"{body}stem.conv1", 64, 3, 7)
    for number, num_blocks in enumerate(BLOCKS[depth], start=2):
        shapes |= stage("roi_heads." if neck == "c4" and number == 5 else body, number, num_blocks, groups)
    channels = {"fpn": 256, "c4": 1024, "dc5": 2048}[neck]
    if neck == "fpn":
        for level in range(2, 6):
            shapes |= layer(f"backbone.fpn_lateral{level}", 256, 256 * 2 ** (level - 2), 1, 1)
            shapes |= layer(f"backbone.fpn_output{level}", 256, 256, 3, 3)
    num_anchors = 3 if neck == "fpn" else 15
    shapes |= layer("proposal_generator.rpn_head.conv", channels, channels, 3, 3)
    shapes |= layer("proposal_generator.rpn_head.objectness_logits", num_anchors, channels, 1, 1)
    shapes |= layer("proposal_generator.rpn_head.anchor_deltas", 4 * num_anchors, channels, 1, 1)
    hidden = 2048
    if neck != "c4":
        hidden = 32  # 1024 in the zoo
        shapes |= layer("roi_heads.box_head.fc1", hidden, channels * 49) | layer(
            "roi_heads.box_head.fc2", hidden, hidden
        )
    shapes |= layer("roi_heads.box_predictor.cls_score", num_classes + 1, hidden)
    shapes |= layer("roi_heads.box_predictor.bbox_pred", 4 * num_classes, hidden)
    if masks:
        before = channels
        for number in range(0 if neck == "c4" else 4):
            shapes |= layer(f"roi_heads.mask_head.mask_fcn{number + 1}", 16, before, 3, 3)
            before = 16
        before = 2048 if neck == "c4" else 16
        shapes["roi_heads.mask_head.deconv.weight"] = (before, 16, 2, 2)
        shapes["roi_heads.mask_head.deconv.bias"] = (16,)
        shapes |= layer("roi_heads.mask_head.predictor", num_classes, 16, 1, 1)
    return shapes


def state_dict(depth, neck, masks, num_classes=80):
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes_of(depth, neck, masks, num_classes).items():
        fan = max(1, int(np.prod(shape[1:])))
        state[name] = torch.randn(shape, generator=generator) / fan**0.5
        if name.endswith("running_var") or name.endswith("norm.weight"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
    state["pixel_mean"] = torch.tensor([103.53, 116.28, 123.675])[:, None, None]
    return state | cells([[32], [64], [128], [256], [512]] if neck == "fpn" else [[32, 64, 128, 256, 512]])


def cells(levels, ratios=(0.5, 1.0, 2.0)):
    """Buffers of anchors as detectron2 computes them: all ratios of a size, then those of the next."""
    buffers = {}
    for level, sizes in enumerate(levels):
        boxes = []
        for size in sizes:
            for ratio in ratios:
                width = math.sqrt(size**2 / ratio)
                height = ratio * width
                boxes.append([-width / 2, -height / 2, width / 2, height / 2])
        buffers[f"proposal_generator.anchor_generator.cell_anchors.{level}"] = torch.tensor(boxes)
    return buffers


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}-{'mask' if case[2] else 'faster'}")
def case(request):
    depth, neck, masks = request.param
    state = state_dict(depth, neck, masks)
    translation = translate(WeightFile(HERE, state))
    detector = DETECTORS[translation.detector](
        **merge(translation.hyperparameters, {"preprocessing": {"min_size": 64, "max_size": 96}})
    )
    assert translation.unexpected == []
    assert translation.fit_to(detector.state_dict()) == []
    detector.load_state_dict(translation.weights)
    return request.param, state, detector.eval()


def test_the_architecture_is_read_from_the_weights(case):
    (depth, neck, masks), _, detector = case
    names = {"R50": "resnet50", "R101": "resnet101", "X101": "resnext101_32x8d"}
    classes = {"fpn": ResNetFPN, "c4": ResNetC4, "dc5": ResNetDC5}
    assert type(detector.backbone) is classes[neck]
    assert detector.backbone.init_args["name"] == names[depth]
    assert detector.backbone.init_args["stride_in_1x1"] == (depth != "X101")
    assert detector.preprocessing.settings.size_divisor == (32 if neck == "fpn" else 1)
    assert isinstance(detector, MaskRCNN) == masks


def test_images_become_bgr_from_0_to_255_less_the_mean(case):
    (depth, *_), _, detector = case
    red, green, blue = 10.0, 20.0, 30.0
    image = torch.tensor([red, green, blue])[None, :, None, None].expand(1, 3, 4, 4).byte()
    got = detector.preprocessing.normalize(image, torch.tensor([[4, 4]]))[0, :, 0, 0]
    deviation = [57.375, 57.12, 58.395] if depth == "X101" else [1.0, 1.0, 1.0]
    wanted = [(blue - 103.53) / deviation[0], (green - 116.28) / deviation[1], (red - 123.675) / deviation[2]]
    torch.testing.assert_close(got, torch.tensor(wanted), atol=1e-4, rtol=1e-6)


def test_features_are_those_of_its_network(case):
    """The ResNet once more, in plain functions on detectron2's own names."""
    (depth, neck, _), state, detector = case
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = detector.backbone(images)
        stages = plain_resnet(images, state, depth, neck)
    if neck == "fpn":
        top = F.conv2d(stages[3], state["backbone.fpn_lateral5.weight"], state["backbone.fpn_lateral5.bias"])
        p5 = F.conv2d(top, state["backbone.fpn_output5.weight"], state["backbone.fpn_output5.bias"], padding=1)
        lateral = F.conv2d(stages[2], state["backbone.fpn_lateral4.weight"], state["backbone.fpn_lateral4.bias"])
        inner = lateral + top.repeat_interleave(2, 2).repeat_interleave(2, 3)
        p4 = F.conv2d(inner, state["backbone.fpn_output4.weight"], state["backbone.fpn_output4.bias"], padding=1)
        torch.testing.assert_close(features[3], p5, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(features[2], p4, atol=1e-3, rtol=1e-3)
        assert features[4].equal(features[3][..., ::2, ::2])
    else:
        assert [tuple(feature.shape[2:]) for feature in features] == [(4, 6)]
        torch.testing.assert_close(features[0], stages[2 if neck == "c4" else 3], atol=1e-3, rtol=1e-3)


def plain_resnet(images, state, depth, neck):
    prefix = "backbone.bottom_up." if neck == "fpn" else "backbone."

    def conv(hidden, name, **options):
        hidden = F.conv2d(hidden, state[f"{name}.weight"], **options)
        weight, bias, mean, var = (
            state[f"{name}.norm.{item}"][:, None, None] for item in ("weight", "bias", "running_mean", "running_var")
        )
        return (hidden - mean) / (var + 1e-5).sqrt() * weight + bias

    hidden = F.max_pool2d(conv(images, f"{prefix}stem.conv1", stride=2, padding=3).relu(), 3, stride=2, padding=1)
    stages = []
    for number, num_blocks in enumerate(BLOCKS[depth], start=2):
        if neck == "c4" and number == 5:
            break
        is_dilated = neck == "dc5" and number == 5
        for block in range(num_blocks):
            name = f"{prefix}res{number}.{block}"
            stride = 2 if block == 0 and number > 2 and not is_dilated else 1
            first, second = (1, stride) if depth == "X101" else (stride, 1)
            dilation = 2 if is_dilated else 1
            branch = conv(hidden, f"{name}.conv1", stride=first).relu()
            groups = 32 if depth.startswith("X") else 1
            branch = conv(
                branch, f"{name}.conv2", stride=second, padding=dilation, dilation=dilation, groups=groups
            ).relu()
            branch = conv(branch, f"{name}.conv3")
            hidden = (branch + (conv(hidden, f"{name}.shortcut", stride=stride) if block == 0 else hidden)).relu()
        stages.append(hidden)
    return stages


def test_anchors_are_exact_and_size_major_on_fixed_strides(case):
    (_, neck, _), _, detector = case
    first = detector.rpn.anchors.cell_0
    # 32 x 32 pixels at h / w = 1/2: 45.25 x 22.63.
    torch.testing.assert_close(first[0], torch.tensor([-22.63, -11.31, 22.63, 11.31]), atol=5e-3, rtol=0)
    torch.testing.assert_close(first[1], torch.tensor([-16.0, -16, 16, 16]), atol=5e-3, rtol=0)
    torch.testing.assert_close(first[2], torch.tensor([-11.31, -22.63, 11.31, 22.63]), atol=5e-3, rtol=0)
    if neck == "fpn":
        assert len(first) == 3
        # 13 rows of 61.5 pixels in 800: detectron2's stride is 64 all the same.
        p6 = detector.rpn.anchors([(200, 336), (100, 168), (50, 84), (25, 42), (13, 21)], (800, 1344))[4]
        assert (p6[21 * 3] - p6[0]).tolist() == [0, 64, 0, 64]
    else:
        assert len(first) == 15
        torch.testing.assert_close(first[3], torch.tensor([-45.25, -22.63, 45.25, 22.63]), atol=5e-3, rtol=0)
        row = detector.rpn.anchors([(50, 84)], (800, 1344))[0]
        assert (row[84 * 15] - row[0]).tolist() == [0, 16, 0, 16]


def test_scores_have_the_background_last_there_and_first_here(case):
    _, state, detector = case
    hidden = torch.randn(5, detector.box.head.out_features, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        logits, deltas = detector.box.predictor(hidden)
    theirs = F.linear(hidden, *(state[f"roi_heads.box_predictor.cls_score.{item}"] for item in ("weight", "bias")))
    torch.testing.assert_close(logits[:, 0], theirs[:, 80])
    torch.testing.assert_close(logits[:, 1:], theirs[:, :80])
    theirs = F.linear(hidden, *(state[f"roi_heads.box_predictor.bbox_pred.{item}"] for item in ("weight", "bias")))
    torch.testing.assert_close(deltas[:, 7], theirs[:, 28:32])
    assert (detector.class_names[0], detector.class_names[79]) == ("person", "toothbrush")
    assert (detector.category_ids[11], detector.category_ids[79]) == (13, 90)


def test_masks_have_a_class_each(case):
    (_, neck, masks), state, detector = case
    if not masks:
        pytest.skip("no masks")
    pooled = torch.randn(2, 2048 if neck in ("c4", "dc5") else 256, 4, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        hidden = pooled
        for number in range(0 if neck == "c4" else 4):
            name = f"roi_heads.mask_head.mask_fcn{number + 1}"
            hidden = F.conv2d(hidden, state[f"{name}.weight"], state[f"{name}.bias"], padding=1).relu()
        name = "roi_heads.mask_head.deconv"
        hidden = F.conv_transpose2d(hidden, state[f"{name}.weight"], state[f"{name}.bias"], stride=2).relu()
        name = "roi_heads.mask_head.predictor"
        wanted = F.conv2d(hidden, state[f"{name}.weight"], state[f"{name}.bias"])
        torch.testing.assert_close(detector.mask.head(pooled), wanted, atol=1e-4, rtol=1e-4)
    assert detector.mask_paste == "exact"
    assert detector.mask.settings.target == "polygon"


def test_regions_are_aligned_with_as_many_samples_as_a_bin_has_pixels(case):
    """On a ramp, the average over a bin is the value at its center, half a pixel to the left of torchvision's."""
    (_, neck, _), _, detector = case
    stride = 4 if neck == "fpn" else 16
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    features = [ramp] + [torch.zeros(1, 1, 64 >> level, 64 >> level) for level in range(1, 4)]
    features = features if neck == "fpn" else features[:1]
    x1, x2 = 8.0 * stride, 22.0 * stride
    rois = torch.tensor([[0, x1, x1, x2, x2]])
    pooled = detector.pooler.pool(features, rois, size=7)
    # Bins two pixels wide from 8 to 22; pixel k covers k to k + 1, so its center has the coordinate k + 0.5.
    centers = 8 + 2 * (torch.arange(7) + 0.5)
    torch.testing.assert_close(pooled[0, 0, 3], centers - 0.5)
    # A region much smaller than a pixel stays as small: torchvision would take it for one pixel.
    point = torch.tensor([[0, x1, x1, x1 + 0.01 * stride, x1 + 0.01 * stride]])
    pooled = detector.pooler.pool(features, point, size=2)
    torch.testing.assert_close(pooled[0, 0, 0], torch.tensor([7.5025, 7.5075]), atol=1e-3, rtol=0)


def test_it_detects(case):
    (depth, *_), _, detector = case
    if depth != "R50":
        pytest.skip("activations of so many random blocks overflow")
    detector.rpn.settings = replace(detector.rpn.settings, post_nms_top_n=(20, 20))
    detector.box.settings = replace(detector.box.settings, score_threshold=0.0)
    image = torch.randint(0, 256, (3, 50, 70), generator=torch.Generator().manual_seed(4)).byte()
    found = detector.detect([image], threshold=0.0)[0]
    assert len(found["boxes"]) > 0
    assert (found["boxes"][:, 2:] > found["boxes"][:, :2]).all()


def test_files_as_the_model_zoo_has_them(tmp_path):
    """A pickle of numpy arrays; early ones without the statistics of norms."""
    state = state_dict("R50", "c4", masks=False, num_classes=3)
    arrays = {name: value.numpy() for name, value in state.items() if not re.search("running_", name)}
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}))
    translation = translate_file(path)
    assert translation.format == "detectron2's Faster R-CNN, C4"
    assert translation.hyperparameters["class_names"] == ["class 1", "class 2", "class 3"]
    assert set(translation.dropped) == {"pixel_mean", "proposal_generator.anchor_generator.cell_anchors.0"}
    assert translation.weights["pooler.stage.2.bn3.running_var"].eq(1).all()
    assert translation.weights["backbone.body.bn1.running_mean"].eq(0).all()
    assert len(translation.made) == 2 * sum("norm.bias" in name for name in arrays)
    detector = FasterRCNN(**translation.hyperparameters)
    assert translation.fit_to(detector.state_dict()) == []


CELL = "proposal_generator.anchor_generator.cell_anchors."


@pytest.fixture(scope="module")
def fpn():
    return state_dict("R50", "fpn", masks=False, num_classes=3)


def hyperparameters(state):
    return translate(WeightFile(HERE, state)).hyperparameters


def test_anchors_of_the_file_rule(fpn):
    own = cells([[16], [24], [50], [100], [300]], ratios=(1 / 3, 1.0, 3.0))
    translation = translate(WeightFile(HERE, fpn | own))
    detector = FasterRCNN(**translation.hyperparameters)
    for level in range(5):
        cell = getattr(detector.rpn.anchors, f"cell_{level}")
        torch.testing.assert_close(cell, own[f"{CELL}{level}"], atol=2e-3, rtol=1e-5)
    assert any("rpn.anchors.sizes [16.0, 24.0, 50.0, 100.0, 300.0]" in note for note in translation.notes)


def test_sizes_on_a_single_map_keep_their_order():
    own = cells([[8, 200, 64]], ratios=(2.0, 0.25))
    state = state_dict("R50", "c4", masks=False, num_classes=3)
    found = hyperparameters(state | own)["rpn"]["anchors"]
    assert (found["sizes"], found["ratios"]) == ([8.0, 200.0, 64.0], [2.0, 0.25])
    # The same boxes, the sizes of one ratio before those of the next.
    found = hyperparameters(state | {f"{CELL}0": own[f"{CELL}0"][[0, 2, 4, 1, 3, 5]]})["rpn"]["anchors"]
    assert (found["sizes"], found["order"]) == ([8.0, 200.0, 64.0], "ratio_major")


@pytest.mark.parametrize("kind", [torch.float16, torch.float64, "missing"])
def test_usual_anchors_say_nothing(fpn, kind):
    usual = {name: value for name, value in fpn.items() if name.startswith(CELL)}
    state = {name: value for name, value in fpn.items() if name not in usual}
    if kind != "missing":
        state |= {name: value.to(kind) for name, value in usual.items()}
    translation = translate(WeightFile(HERE, state))
    assert "sizes" not in translation.hyperparameters["rpn"]["anchors"]
    assert not any("anchor" in note for note in translation.notes)


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        (cells([[32, 40], [64, 80], [128, 160], [256, 300], [500, 512]]), "several sizes on a level"),
        (cells([[32], [64], [128], [256], [512], [700]]), "6 levels"),
        (cells([[32]], ratios=(1.0, 2.0, 4.0)), "the ratios differ between levels"),
        ({f"{CELL}0": torch.zeros(3, 4)}, "without area"),
        ({f"{CELL}1": torch.ones(3, 5)}, "four edges"),
        ({f"{CELL}0": torch.full((3, 4), torch.nan)}, "finite"),
        ({f"{CELL}0": cells([[32]])[f"{CELL}0"] + 8}, "around the origin"),
    ],
)
def test_anchors_that_are_not_ours_are_refused(fpn, own, problem):
    with pytest.raises(InputError, match=problem):
        translate(WeightFile(HERE, fpn | own))


@pytest.mark.parametrize(
    ("mean", "order"),
    [
        ([103, 116, 124], "bgr"),
        ([123.675, 116.28, 103.53], "rgb"),
        ([90.0, 100.0, 110.0], "bgr"),
        ([110.0, 100.0, 90.0], "rgb"),
        ([127.5, 127.5, 127.5], "bgr"),
        ([0.406, 0.456, 0.485], "bgr"),
    ],
)
def test_the_mean_of_the_file_rules(fpn, mean, order):
    translation = translate(WeightFile(HERE, fpn | {"pixel_mean": torch.tensor(mean)[:, None, None]}))
    detector = FasterRCNN(**translation.hyperparameters)
    image = torch.tensor([10, 20, 30], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 4, 4)
    channels = [10.0, 20.0, 30.0] if order == "rgb" else [30.0, 20.0, 10.0]
    wanted = [value - part for value, part in zip(channels, mean, strict=True)]
    got = detector.preprocessing.normalize(image, torch.tensor([[4, 4]]))[0, :, 0, 0]
    torch.testing.assert_close(got, torch.tensor(wanted), atol=1e-4, rtol=1e-6)
    assert any("pixel_mean" in note for note in translation.notes)
    assert any("pixel_range=1" in note for note in translation.notes) == (mean[0] < 1)


def test_the_deviation_of_the_file_rules(fpn):
    found = hyperparameters(fpn | {"pixel_std": torch.tensor([57.375, 57.12, 58.395])})
    assert found["preprocessing"]["pixel_std"] == [57.375, 57.12, 58.395]
    for bad in ([1.0, 0.0, 1.0], [1.0, 1.0], [1.0, math.nan, 1.0]):
        with pytest.raises(InputError, match="pixel_std"):
            translate(WeightFile(HERE, fpn | {"pixel_std": torch.tensor(bad)}))


def test_the_profile_is_that_of_the_folder_or_what_is_asked_for(fpn):
    detectron1 = {
        "pooler.sampling_ratio": 2,
        "pooler.aligned": False,
        "box.box_loss.init_args.beta": 1.0,
        "rpn.box_loss.init_args.beta": 0.1111,
    }
    zoo = Path("detectron2/Detectron1-Comparisons/faster_rcnn_R_50_FPN_noaug_1x/137781054/model_final.pkl")

    def settings(path, profile=None):
        return dict(flat_settings(translate(WeightFile(path, fpn), profile).hyperparameters))

    assert settings(zoo).items() >= detectron1.items()
    assert settings(HERE)["pooler.aligned"] is True
    assert any("--profile" in note for note in translate(WeightFile(HERE, fpn)).notes)
    assert settings(HERE, "detectron1").items() >= detectron1.items()
    assert settings(zoo, "lvis").items() >= {"box.score_threshold": 1e-4, "box.detections_per_image": 300}.items()
    assert settings(Path("Cityscapes/x.pkl"))["preprocessing.max_size"] == 2048
