"""Converted detectors of torchvision find what torchvision finds, from real image files to boxes and masks.

Their weights are random, with statistics and scales under which many boxes come out. Of near ties, of which random
weights have many and trained ones few, either side may fall: the sums of a convolution in another order are enough.
"""

from pathlib import Path

import pytest
import torch
import torchvision.models.detection as torchvision_detection
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

import lightning_rcnn
from lightning_rcnn.cli.commands.convert import convert
from lightning_rcnn.data.decoded_image import decode_image
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.masks.paste import paste_densely
from lightning_rcnn.structures import Batch, ImageRecord

IMAGES = Path(lightning_rcnn.__file__).parents[1] / ".." / "shared" / "data" / "tiny_coco"
MODELS = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "maskrcnn_resnet50_fpn_v2")
FROZEN = "maskrcnn_resnet50_fpn with the norms of its COCO file"
SCORE_THRESHOLD = 0.02

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.realdata,
    pytest.mark.skipif(not IMAGES.is_dir(), reason="no shared/data/tiny_coco beside the checkout"),
]


def their_detector(name, size, num_proposals):
    options = {
        "num_classes": 91,
        "min_size": size,
        "max_size": 2 * size,
        "box_score_thresh": SCORE_THRESHOLD,
        "box_detections_per_img": 40,
        "rpn_post_nms_top_n_test": num_proposals,
    }
    torch.manual_seed(0)
    live = getattr(torchvision_detection, name.partition(" ")[0])(weights=None, weights_backbone=None, **options)
    give_statistics(live, has_masks="mask" in name)
    if name != FROZEN:
        return live.eval()
    # So small that the usual epsilon would change everything: torchvision sets it to 0 for its COCO files.
    body = live.backbone.body
    with torch.no_grad():
        body.conv1.weight.mul_(1e-3), body.bn1.running_mean.mul_(1e-3), body.bn1.running_var.mul_(1e-6)
    frozen = torchvision_detection.MaskRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None), **options)
    frozen.load_state_dict(live.state_dict(), strict=False)
    overwrite_eps(frozen, 0.0)
    return frozen.eval()


def give_statistics(theirs, has_masks):
    # Norms with the statistics of noise keep activations of the order of one, as in a trained network.
    heads = theirs.roi_heads
    with torch.no_grad():
        for _ in range(5):
            spread = theirs.backbone(torch.randn(2, 3, 96, 128))["0"].std()
            heads.box_head(spread * torch.randn(8, 256, 7, 7))
            if has_masks:
                heads.mask_head(spread * torch.randn(8, 256, 14, 14))
        for parameter in (theirs.rpn.head.cls_logits.weight, theirs.rpn.head.bbox_pred.weight):
            parameter.mul_(3)
        heads.box_predictor.cls_score.weight.mul_(5)
        heads.box_predictor.bbox_pred.weight.mul_(5)
        if has_masks:
            heads.mask_predictor.mask_fcn_logits.weight.mul_(20)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((FROZEN, 96, 60, 2), id=f"{FROZEN}-small"),
        *(pytest.param((name, 96, 60, 2), id=f"{name}-small") for name in MODELS if name.startswith("mask")),
        *(pytest.param((name, 800, 1000, 10), id=f"{name}-full", marks=pytest.mark.slow) for name in MODELS),
    ],
)
def case(request, tmp_path_factory):
    """Ours, theirs, and images, uint8."""
    name, size, num_proposals, num_images = request.param
    theirs = their_detector(name, size, num_proposals)
    folder = tmp_path_factory.mktemp("converted")
    torch.save(theirs.state_dict(), folder / "theirs.pth")
    profile = [f"preprocessing.min_size={size}", f"preprocessing.max_size={2 * size}"]
    profile += ["preprocessing.memory_format=contiguous", f"rpn.post_nms_top_n=[2000,{num_proposals}]"]
    profile += [f"box.score_threshold={SCORE_THRESHOLD}", "box.detections_per_image=40"]
    convert(str(folder / "theirs.pth"), out=folder / "ours.ckpt", set=profile)
    files = sorted(IMAGES.glob("*2017/*.jpg"))[::9][:num_images]
    return load_detector(folder / "ours.ckpt"), theirs, [decode_image(f.read_bytes(), apply_exif=True) for f in files]


def assert_same(found, expected):
    assert len(expected["boxes"]) >= 10
    assert len(found["boxes"]) == len(expected["boxes"])
    torch.testing.assert_close(found["scores"], expected["scores"], atol=1e-4, rtol=0)
    # Equal but for rounding, scores may be in another order.
    both = [torch.cat((one["boxes"], 1e3 * one["labels"][:, None]), dim=1) for one in (expected, found)]
    partner = torch.cdist(*both, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
    assert sorted(partner.tolist()) == list(range(len(partner)))
    torch.testing.assert_close(found["boxes"][partner], expected["boxes"], atol=1e-2, rtol=0)
    assert found["labels"][partner].equal(expected["labels"])
    if "masks" in expected:
        ours, theirs = found["masks"][partner], expected["masks"][:, 0] > 0.5
        union = (ours | theirs).flatten(1).sum(1)
        iou = torch.where(union > 0, (ours & theirs).flatten(1).sum(1) / union.clamp(min=1), 1.0)
        # A mask's box is cut to whole pixels; where a corner lies on one, a rounding resizes the mask by a pixel.
        is_cut_alike = (corners(found["boxes"][partner]) == corners(expected["boxes"])).all(1)
        assert is_cut_alike.float().mean() > 0.9
        assert (iou[is_cut_alike] >= 0.999).all()
        assert (iou >= 0.95).all()


def corners(boxes):
    """Of boxes that have grown by 30 / 28, in whole pixels, as torchvision pastes them."""
    center, half = (boxes[:, 2:] + boxes[:, :2]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * (30 / 28)
    return torch.cat((center - half, center + half), dim=1).long()


def test_one_image(case):
    ours, theirs, images = case
    for image in images:
        with torch.no_grad():
            (expected,) = theirs([image / 255])
        assert_same(ours.detect([image], threshold=0.0)[0], expected)


def test_two_images_of_different_shapes_in_a_batch(case):
    ours, theirs, images = case
    for pair in zip(images[::2], images[1::2], strict=True):
        with torch.no_grad():
            expected = theirs([image / 255 for image in pair])
            found = ours(batch_of(ours, pair))
        for slot, image in enumerate(pair):
            is_found = found.labels[slot] > 0
            one = {key: values[slot, is_found] for key, values in found._asdict().items() if values is not None}
            if "masks" in one:
                one["masks"] = paste_densely(one["masks"], one["boxes"], *image.shape[1:], "integer")
            assert_same(one, expected[slot])


def batch_of(detector, images):
    """Padded as torchvision pads them."""
    resized = [detector.resize_rule(image) for image in images]
    sizes = torch.tensor([image.shape[1:] for image in resized])
    height, width = (-(-sizes.amax(0) // 32) * 32).tolist()
    padded = torch.zeros(len(images), 3, height, width)
    for slot, image in enumerate(resized):
        padded[slot, :, : image.shape[1], : image.shape[2]] = image
    records = tuple(ImageRecord(slot, "", *image.shape[1:]) for slot, image in enumerate(images))
    return Batch(padded, sizes, torch.arange(len(images)), None, records)
