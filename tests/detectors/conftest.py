import pytest
import torch

from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.structures import Batch, ImageRecord, Targets

SMALL = {
    "class_names": ["circle", "square", "triangle"],
    "backbone": "resnet18",
    "fpn_channels": 32,
    "box_head_width": 64,
    "rpn_pre_nms_top_n": (100, 100),
    "rpn_post_nms_top_n": (50, 50),
    "box_samples_per_image": 32,
    "min_size": 64,
    "max_size": 96,
}


@pytest.fixture
def make_detector():
    """A small Faster R-CNN with reproducible weights; keywords override its hyperparameters."""

    def make(**overrides):
        torch.manual_seed(0)
        return FasterRCNN(**{**SMALL, **overrides})

    return make


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
