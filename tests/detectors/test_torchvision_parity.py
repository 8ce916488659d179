"""The same weights and images as torchvision's Mask R-CNN give its anchors, proposals, detections, masks and losses.

Its Faster R-CNN is the same detector without the mask branch.
"""

from pathlib import Path

import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image

from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.checkpoints.torchvision import translate
from lightning_rcnn.detectors.inference import detect_tensors
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.plain_data import merge
from lightning_rcnn.structures import Inputs, Targets

NUM_CLASSES = 3
ALL = 10**6
"""More samples than there are anchors or regions: both sides then use all of them, and chance has no part."""


@pytest.fixture(scope="module")
def detectors():
    torch.manual_seed(0)
    sizes = {"min_size": 128, "max_size": 200}
    theirs = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=NUM_CLASSES + 1,
        rpn_batch_size_per_image=ALL,
        rpn_positive_fraction=0.5,
        box_batch_size_per_image=ALL,
        box_score_thresh=0.2,
        rpn_pre_nms_top_n_train=300,
        rpn_post_nms_top_n_train=200,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=200,
        **sizes,
    )
    # Batch norms with the statistics of noise keep activations of the order of one, as in a trained network; larger
    # weights in the heads then spread scores and boxes.
    theirs.train()
    with torch.no_grad():
        for _ in range(5):
            theirs.backbone(torch.randn(2, 3, 128, 160))
        for layer in (theirs.rpn.head.conv, theirs.rpn.head.cls_logits, theirs.rpn.head.bbox_pred):
            for parameter in layer.parameters():
                parameter.mul_(3)
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(5)
        theirs.roi_heads.box_predictor.bbox_pred.weight.mul_(5)
    translation = translate(WeightFile(Path("theirs"), theirs.state_dict()))
    own = {
        "preprocessing": {"memory_format": "contiguous", **sizes},
        "rpn": {"samples_per_image": ALL, "pre_nms_top_n": [300, 300], "post_nms_top_n": [200, 200]},
        "box": {"samples_per_image": ALL, "score_threshold": 0.2},
    }
    ours = MaskRCNN(**merge(translation.hyperparameters, own))
    ours.load_state_dict(translation.weights)
    return ours, theirs


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, (3, *size), generator=generator).byte() for size in ((240, 320), (300, 210))]


@pytest.fixture(scope="module")
def truth():
    """Boxes and masks, which are ellipses in them, in the original frames."""
    return [
        {
            "boxes": (boxes := torch.tensor([[20.0, 30, 120, 200], [150, 10, 320, 90]])),
            "labels": torch.tensor([1, 3]),
            "masks": ellipses(boxes, 240, 320),
        },
        {
            "boxes": (boxes := torch.tensor([[15.0, 100, 190, 280]])),
            "labels": torch.tensor([2]),
            "masks": ellipses(boxes, 300, 210),
        },
    ]


def ellipses(boxes, height, width):
    """Masks uint8 [M, height, width]."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x1, y1, x2, y2 = boxes[:, :, None, None].unbind(1)
    return (((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2 < 1).byte()


def resized_batch(ours, theirs, images, truth, bitmaps_of):
    """Their transform's output, as our batch: what differs afterwards is the detector's."""
    image_list, targets = theirs.transform([image / 255 for image in images], truth)
    height, width = image_list.tensors.shape[-2:]
    padded = torch.zeros(len(images), 3, height, width)
    for slot, image in enumerate(images):
        resized = ours.resize_rule(image)
        assert tuple(resized.shape[-2:]) == image_list.image_sizes[slot]
        padded[slot, :, : resized.shape[1], : resized.shape[2]] = resized
    boxes, labels = torch.zeros(len(images), 2, 4), torch.full((len(images), 2), -1)
    for slot, target in enumerate(targets):
        boxes[slot, : len(target["boxes"])] = target["boxes"]
        labels[slot, : len(target["labels"])] = target["labels"]
    sizes = torch.tensor(image_list.image_sizes)
    masks = bitmaps_of([target["masks"] for target in targets], max_objects=2)
    return image_list, padded, sizes, Targets(boxes, labels, torch.zeros_like(labels, dtype=torch.bool), masks)


def test_network_input_and_anchors_are_theirs(detectors, images, truth, bitmaps_of):
    ours, theirs = detectors
    image_list, padded, sizes, _ = resized_batch(ours, theirs, images, truth, bitmaps_of)
    torch.testing.assert_close(ours.preprocessing.normalize(padded, sizes), image_list.tensors, atol=2e-5, rtol=0)
    with torch.no_grad():
        features = ours.backbone(ours.preprocessing.normalize(padded, sizes))
        their_features = theirs.backbone(image_list.tensors)
    their_anchors = theirs.rpn.anchor_generator(image_list, list(their_features.values()))[0]
    torch.testing.assert_close(torch.cat(ours.rpn._score(features, padded)[0]), their_anchors, atol=0, rtol=0)


@pytest.mark.end_to_end
def test_proposals_and_detections_are_theirs(detectors, images, truth, bitmaps_of):
    ours, theirs = detectors
    ours.eval(), theirs.eval()
    image_list, padded, sizes, _ = resized_batch(ours, theirs, images, truth, bitmaps_of)
    with torch.no_grad():
        _, proposals = ours.predict(Inputs(padded, sizes, torch.tensor([1, 2])))
        their_proposals, _ = theirs.rpn(image_list, theirs.backbone(image_list.tensors))
        their_detections = theirs([image / 255 for image in images])
    for slot, boxes in enumerate(their_proposals):
        assert proposals.is_valid[slot].sum() == len(boxes)
        torch.testing.assert_close(proposals.boxes[slot, : len(boxes)], boxes, atol=1e-3, rtol=0)
    for image, expected in zip(images, their_detections, strict=True):
        found = ours.detect([image], threshold=0.0)[0]
        alone = theirs([image / 255])[0]
        assert len(alone["boxes"]) > 20
        torch.testing.assert_close(found["scores"], alone["scores"], atol=1e-5, rtol=0)
        torch.testing.assert_close(found["boxes"], alone["boxes"], atol=1e-3, rtol=0)
        assert found["labels"].equal(alone["labels"])
        assert len(expected["boxes"]) > 20


@pytest.mark.end_to_end
def test_mask_probabilities_are_theirs(detectors, images, truth, bitmaps_of):
    """For the same boxes, those that ours found, in a batch."""
    ours, theirs = detectors
    ours.eval(), theirs.eval()
    image_list, padded, sizes, _ = resized_batch(ours, theirs, images, truth, bitmaps_of)
    with torch.no_grad():
        found, _ = ours.predict(Inputs(padded, sizes, torch.tensor([1, 2])))
        features, heads = theirs.backbone(image_list.tensors), theirs.roi_heads
        pooled = heads.mask_roi_pool(features, list(found.boxes), image_list.image_sizes)
        logits = heads.mask_predictor(heads.mask_head(pooled)).unflatten(0, found.labels.shape)
    is_found = found.labels > 0
    expected = logits[is_found].sigmoid()[torch.arange(int(is_found.sum())), found.labels[is_found]]
    torch.testing.assert_close(found.masks[is_found], expected, atol=1e-4, rtol=0)
    assert len(expected) > 40
    assert 0.05 < (expected > 0.5).float().mean() < 0.95, "the masks of such weights are no test"


@pytest.mark.end_to_end
def test_pasted_masks_are_theirs(detectors, images):
    """Every pixel, of the same boxes and probabilities."""
    ours, _ = detectors
    for image in images:
        (found,) = detect_tensors(ours, [image], threshold=0.0)
        with torch.no_grad():
            pasted = paste_masks_in_image(found.masks[0][:, None], found.boxes[0], image.shape[-2:])[:, 0] > 0.5
        assert ours.detect([image], threshold=0.0)[0]["masks"].equal(pasted)


@pytest.mark.end_to_end
def test_masks_from_image_to_pixels_are_theirs(detectors, images):
    """Boxes differ by a rounding here, and where that takes a corner over a whole pixel the mask is resized by one."""
    ours, theirs = detectors
    theirs.eval()
    for image in images:
        with torch.no_grad():
            their_pixels = theirs([image / 255])[0]["masks"][:, 0] > 0.5
        our_pixels = ours.detect([image], threshold=0.0)[0]["masks"]
        both, either = (our_pixels & their_pixels).sum((1, 2)), (our_pixels | their_pixels).sum((1, 2))
        iou = both[either > 0] / either[either > 0]
        assert len(iou) > 10
        assert (iou == 1).float().mean() > 0.9
        assert (our_pixels != their_pixels).float().mean() < 1e-5


def test_losses_are_theirs_when_both_use_all_samples(detectors, images, truth, bitmaps_of):
    ours, theirs = detectors
    ours.train(), theirs.train()
    # Statistics of batch norm would differ by order of summation only, but moving them would couple the tests.
    for module in (*ours.modules(), *theirs.modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    image_list, padded, sizes, batch_targets = resized_batch(ours, theirs, images, truth, bitmaps_of)
    assert isinstance(image_list, ImageList)
    losses = ours.losses(Inputs(padded, sizes, torch.tensor([1, 2])), batch_targets)
    expected = theirs([image / 255 for image in images], truth)
    for name, theirs_name in (
        ("loss_objectness", "loss_objectness"),
        ("loss_rpn_box", "loss_rpn_box_reg"),
        ("loss_classifier", "loss_classifier"),
        ("loss_box", "loss_box_reg"),
        ("loss_mask", "loss_mask"),
    ):
        torch.testing.assert_close(
            losses[name], expected[theirs_name], atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
