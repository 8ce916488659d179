"""What becomes of each entry of detectron2's model zoo: its 61 of regions and three of one stage.

State dicts have the shapes of the entry's network, with narrow heads; their numbers are one zero each, expanded.
"""

from pathlib import Path

import pytest
import torch

from lightning_rcnn.checkpoints.detectron2 import is_detectron2, translate
from lightning_rcnn.checkpoints.detectron2_zoo import ENTRIES, zoo_file
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.detectors.loading import DETECTORS
from lightning_rcnn.errors import InputError

from .test_detectron2 import BLOCKS, cells, layer, shapes_of
from .test_detectron2_backbones import X_4GF, Y_4GF, jittered
from .test_detectron2_family import cascade, keypoints, norms, with_norms, without

REFUSED = {
    **{name: "panoptic head" for name in ENTRIES if "/panoptic_" in name},
    **{name: "one stage" for name in ENTRIES if "/retinanet_" in name},
}
LOADED = [name for name in ENTRIES if name not in REFUSED]
CLASSES = {"Cityscapes": 8, "PascalVOC": 20, "LVIS": 1230}
X152 = "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv"


def num_classes(name):
    return next((number for start, number in CLASSES.items() if name.startswith(start)), 80)


def offsets(depth):
    shapes = {}
    for stage, num_blocks in enumerate(BLOCKS[depth][1:], start=3):
        for block in range(num_blocks):
            width = (256 if depth.startswith("X") else 64) * 2 ** (stage - 2)
            shapes |= layer(f"backbone.bottom_up.res{stage}.{block}.conv2_offset", 18, width, 3, 3)
    return shapes


def of_x152():
    """A ResNeXt-152 with eight convolutions and group norms in its heads."""
    body = {name: shape for name, shape in shapes_of("X152", "fpn", True, 80).items() if "backbone." in name}
    shapes = without(cascade(masks=True), "backbone.", "roi_heads.mask_head", "roi_heads.box") | body | offsets("X152")
    for stage in range(3):
        for number in range(1, 5):
            shapes[f"roi_heads.box_head.{stage}.conv{number}.weight"] = (256, 256, 3, 3)
            shapes |= norms(f"roi_heads.box_head.{stage}.conv{number}", 256, "group_norm")
        shapes |= layer(f"roi_heads.box_head.{stage}.fc1", 32, 256 * 49)
        shapes |= layer(f"roi_heads.box_predictor.{stage}.cls_score", 81, 32)
        shapes |= layer(f"roi_heads.box_predictor.{stage}.bbox_pred", 4, 32)
    for number in range(1, 9):
        shapes[f"roi_heads.mask_head.mask_fcn{number}.weight"] = (32, 256 if number == 1 else 32, 3, 3)
        shapes |= norms(f"roi_heads.mask_head.mask_fcn{number}", 32, "group_norm")
    shapes |= {"roi_heads.mask_head.deconv.weight": (32, 32, 2, 2), "roi_heads.mask_head.deconv.bias": (32,)}
    return shapes | layer("roi_heads.mask_head.predictor", 80, 32, 1, 1)


def entry_shapes(name):
    entry = name.partition("/")[2]
    depth = "X101" if "X_101" in entry else "R101" if "R_101" in entry else "R50"
    neck = "c4" if "C4" in entry else "dc5" if "DC5" in entry else "fpn"
    if entry == X152:
        return of_x152()
    if "cascade" in entry:
        return cascade(masks=True)
    if "keypoint" in entry:
        branch = {key: shape for key, shape in keypoints().items() if ".keypoint_head." in key}
        return shapes_of(depth, neck, False, 1) | branch
    if "_regnet" in entry:
        return jittered(*(X_4GF if "_regnetx" in entry else Y_4GF))
    if entry.endswith(("_gn", "_syncbn", "_LSJ")):
        shapes = with_norms("group_norm" if entry.endswith("_gn") else "batch_norm", entry.endswith("_LSJ"))
        if depth == "R101":
            shapes |= {name: shape for name, shape in shapes_of("R101", "fpn", True, 80).items() if ".res" in name}
        return shapes
    shapes = shapes_of(depth, neck, "mask" in entry, num_classes(name))
    if entry.startswith("rpn_"):
        return without(shapes, "roi_heads.")
    if entry.startswith("fast_"):
        return without(shapes, "proposal_generator.")
    return shapes | (offsets(depth) if "dconv" in entry else {})


def translated(name):
    state = {key: torch.zeros(()).expand(shape) for key, shape in entry_shapes(name).items()}
    sizes = [[32, 64, 128, 256, 512]] if "C4" in name or "DC5" in name else [[32], [64], [128], [256], [512]]
    if "/fast_" not in name:
        state |= cells(sizes)
    assert is_detectron2(state)
    return translate(WeightFile(Path("detectron2") / ENTRIES[name], state))


@pytest.fixture(scope="module")
def built():
    """Shapes of our detectors by their settings: most entries share theirs with others."""
    return {}


def shapes_here(translation, built):
    settings = {key: value for key, value in translation.hyperparameters.items() if key != "category_ids"}
    key = repr((translation.detector, settings))
    if key not in built:
        with torch.device("meta"):
            detector = DETECTORS[translation.detector](**settings)
        built[key] = {name: value.shape for name, value in detector.state_dict().items()}
    return built[key]


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", LOADED)
def test_every_weight_of_an_entry_has_its_place(name, built):
    assert zoo_file(f"{name}.yaml") == ENTRIES[name]
    translation = translated(name)
    expected = shapes_here(translation, built)
    assert translation.unexpected == []
    assert {name: value.shape for name, value in translation.weights.items()} == expected


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_network_here_is_refused_by_name(name):
    with pytest.raises(InputError, match=REFUSED[name]) as caught:
        zoo_file(f"{name}.yaml")
    assert "; take " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_semantic_head_is_refused_by_name():
    state = {key: torch.zeros(1).expand(shape) for key, shape in shapes_of("R50", "fpn", True, 80).items()}
    state["sem_seg_head.predictor.weight"] = torch.zeros(54, 128, 1, 1)
    translation = translate(WeightFile(Path("model_final.pth"), state))
    with pytest.raises(InputError, match=r"a semantic head .*; --allow sem_seg_head takes the rest"):
        translation.fit_to({})


def test_most_of_the_zoo_loads():
    regions = [name for name in ENTRIES if "/retinanet_" not in name]
    assert len(regions) == 61
    assert len(LOADED) == 57


def test_what_the_files_do_not_record():
    settings = translated("Misc/scratch_mask_rcnn_R_50_FPN_9x_gn").hyperparameters
    assert settings["backbone"]["init_args"]["frozen_stages"] == 0
    assert settings["preprocessing"]["pixel_std"] == [57.375, 57.12, 58.395]
    entries = ("mask_rcnn_R_50_FPN_3x_syncbn", "scratch_mask_rcnn_R_50_FPN_9x_syncbn", "mask_rcnn_R_50_FPN_3x_gn")
    backbones = [translated(f"Misc/{entry}").hyperparameters["backbone"]["init_args"] for entry in entries]
    strides = [backbone["stride_in_1x1"] for backbone in backbones]
    assert strides == [True, False, False]  # detectron2's issue 909: the first was trained again
    settings = translated("PascalVOC-Detection/faster_rcnn_R_50_C4").hyperparameters
    assert settings["class_names"][-1] == "tvmonitor"
    settings = translated("COCO-Detection/rpn_R_50_C4_1x").hyperparameters
    assert settings["rpn"]["post_nms_top_n"] == [2000, 2000]
    assert "box" not in settings
    settings = translated("COCO-Detection/fast_rcnn_R_50_FPN_1x").hyperparameters
    assert (settings["pooler"]["operator"], settings["box"]["samples_per_image"]) == ("align", 512)
    assert "rpn" not in settings
    settings = translated(f"Misc/{X152}").hyperparameters
    assert settings["backbone"]["init_args"]["name"] == "resnext152_32x8d"
    assert settings["preprocessing"]["pixel_std"] == [1.0, 1.0, 1.0]
