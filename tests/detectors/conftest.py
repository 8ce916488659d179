from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.backbones.plain import PlainBackbone
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.parts import part
from lightning_rcnn.plain_data import merge
from lightning_rcnn.structures import Batch, Bitmaps, ImageRecord, Proposals, Targets
from tests.seeded import seeded

SMALL = {
    "class_names": ["circle", "square", "triangle"],
    "backbone": part(ResNetFPN, name="resnet18", channels=32),
    "rpn": {"pre_nms_top_n": [100, 100], "post_nms_top_n": [50, 50]},
    "box": {"head": {"width": 64}, "samples_per_image": 32},
    "preprocessing": {"min_size": 64, "max_size": 96},
}

SMALL_RCNN = {
    "class_names": ["circle", "square", "triangle"],
    "backbone": part(PlainBackbone, name="alexnet", norm="batch_norm"),
    "regions": {"size": 63, "context": 4, "head": {"width": 32}, "at_a_time": 8},
    "proposals": {"limit": 20},
    "preprocessing": {"min_size": 64, "max_size": 96},
}


def with_settings(settings, overrides):
    """Merge settings; a backbone is replaced as a whole."""
    backbone = {"backbone": overrides["backbone"]} if "backbone" in overrides else {}
    return merge(settings, overrides) | backbone


@pytest.fixture
def make_rcnn():
    """A small stage of R-CNN with reproducible weights; keywords change its settings."""

    def make(stage, **overrides):
        return seeded(stage, **merge(SMALL_RCNN, overrides))

    return make


@pytest.fixture
def with_proposals():
    """Gives a batch proposals: per image, a list of boxes."""

    def add(batch, *images):
        num = max(1, *map(len, images))
        boxes, is_valid = torch.zeros(len(images), num, 4), torch.zeros(len(images), num, dtype=torch.bool)
        for slot, found in enumerate(images):
            if found:
                boxes[slot, : len(found)] = torch.tensor(found).float()
                is_valid[slot, : len(found)] = True
        scores = torch.where(is_valid, torch.linspace(1, 0, num), -torch.inf)
        return replace(batch, proposals=Proposals(boxes, scores, is_valid))

    return add


@pytest.fixture
def make_detector():
    """A small Faster R-CNN with reproducible weights; keywords change its settings."""

    def make(**overrides):
        return seeded(FasterRCNN, **with_settings(SMALL, overrides))

    return make


@pytest.fixture
def make_mask_rcnn():
    """The same with masks."""

    def make(**overrides):
        return seeded(MaskRCNN, **with_settings({**SMALL, "mask": {"width": 16}}, overrides))

    return make


@pytest.fixture(scope="session")
def bitmaps_of():
    """`Bitmaps` of masks bool [m, H, W] per image, as they are in the resized frame; whole images are their crops."""

    def make(masks, max_objects):
        bits, num_bytes = [], 0
        first_byte = torch.zeros(len(masks), max_objects, dtype=torch.int64)
        sizes, boxes = (
            torch.zeros(len(masks), max_objects, 2, dtype=torch.int64),
            torch.zeros(len(masks), max_objects, 4),
        )
        for slot, image_masks in enumerate(masks):
            for number, mask in enumerate(image_masks):
                height, width = mask.shape
                bits.append(np.packbits(mask.numpy().astype(bool)))
                first_byte[slot, number], num_bytes = num_bytes, num_bytes + len(bits[-1])
                sizes[slot, number] = torch.tensor([height, width])
                boxes[slot, number] = torch.tensor([0, 0, width, height])
        return Bitmaps(torch.from_numpy(np.concatenate([*bits, np.zeros(1, np.uint8)])), first_byte, sizes, boxes)

    return make


@pytest.fixture
def with_masks(bitmaps_of):
    """Gives the objects of a batch masks: the lower left triangles of their boxes."""

    def add(batch):
        height, width = batch.images.shape[-2:]
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")

        def triangle(box):
            x1, y1, x2, y2 = box.tolist()
            return (x > x1) & (y < y2) & ((x - x1) / (x2 - x1) < (y - y1) / (y2 - y1))

        is_object = batch.targets.is_object
        masks = [
            [triangle(box) if single else torch.zeros(0, 0) for box, single in zip(boxes, singles, strict=True)]
            for boxes, singles in zip(batch.targets.boxes, is_object, strict=True)
        ]
        return replace(batch, targets=batch.targets._replace(masks=bitmaps_of(masks, is_object.shape[1])))

    return add


@pytest.fixture
def make_batch():
    """A batch of noise with the given boxes per image: lists of (x1, y1, x2, y2, label) and optionally 'crowd'."""

    def make(*images, size=(64, 96), max_objects=None):
        num_slots = max_objects or max(1, *map(len, images))
        boxes = torch.zeros(len(images), num_slots, 4)
        labels = torch.full((len(images), num_slots), -1)
        is_crowd = torch.zeros(len(images), num_slots, dtype=torch.bool)
        for slot, objects in enumerate(images):
            for number, (*box, label, kind) in enumerate((*o, "single") if len(o) == 5 else o for o in objects):
                boxes[slot, number] = torch.tensor(box)
                labels[slot, number] = label
                is_crowd[slot, number] = kind == "crowd"
        generator = torch.Generator().manual_seed(3)
        return Batch(
            images=torch.randint(0, 256, (len(images), 3, *size), generator=generator).byte(),
            image_sizes=torch.tensor([size] * len(images)),
            image_ids=torch.arange(1, len(images) + 1),
            targets=Targets(boxes, labels, is_crowd),
            records=tuple(ImageRecord(n + 1, f"{n}.jpg", *size) for n in range(len(images))),
        )

    return make
