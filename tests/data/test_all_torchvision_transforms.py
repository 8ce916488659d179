"""Every class that torchvision.transforms.v2 exports: it works in our list, or is refused in one line."""

from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import nn
from torchvision.transforms import v2

from lightning_rcnn.data.transforms import Random, TrainingImage
from lightning_rcnn.data.transforms.torchvision import apply_to_pair
from lightning_rcnn.errors import InputError

HEIGHT, WIDTH = 48, 64
FLIP = v2.RandomHorizontalFlip(1.0)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "CenterCrop": (40,),
    "Compose": ([FLIP],),
    "ConvertBoundingBoxFormat": ("XYWH",),
    "FiveCrop": (40,),
    "GaussianBlur": (3,),
    "JPEG": (50,),
    "Lambda": (lambda entry: entry,),
    "LinearTransformation": (torch.eye(2), torch.zeros(2)),
    "Normalize": ([0.5] * 3, [0.5] * 3),
    "Pad": (4,),
    "RandomAdjustSharpness": (2,),
    "RandomAffine": (10,),
    "RandomApply": ([FLIP],),
    "RandomChoice": ([FLIP],),
    "RandomCrop": (40,),
    "RandomOrder": ([FLIP],),
    "RandomPosterize": (3,),
    "RandomResize": (40, 60),
    "RandomResizedCrop": (40,),
    "RandomRotation": (20,),
    "RandomShortestSize": (50,),
    "RandomSolarize": (100,),
    "Resize": (50,),
    "ScaleJitter": ((50, 50),),
    "SetClampingMode": ("soft",),
    "TenCrop": (40,),
    "ToDtype": (torch.float32,),
    "UniformTemporalSubsample": (2,),
}
"""Plain arguments of the classes that need some."""
REFUSED = {
    **dict.fromkeys(("AugMix", "AutoAugment", "RandAugment", "TrivialAugmentWide"), "BoundingBoxes are not supported"),
    **dict.fromkeys(("CutMix", "MixUp"), "does not support PIL images, bounding boxes"),
    **dict.fromkeys(("FiveCrop", "TenCrop"), "are not supported by"),
    **dict.fromkeys(("ConvertImageDtype", "ToDtype"), r"gives an image of torch.float32 \[3, 48, 64\]; keep it uint8"),
    "ConvertBoundingBoxFormat": "gives boxes that are not xyxy; keep their format",
    "Grayscale": r"gives an image of torch.uint8 \[1, 48, 64\]",
    "LinearTransformation": "incompatible shape",
    "Normalize": "should be a float tensor",
    "SanitizeKeyPoints": "No keypoints were found",
    "ToPILImage": "gives an image of Image",
    "Transform": "NotImplementedError",
}
"""Class -> end of the message."""
NO_TRANSFORMS = {"AutoAugmentPolicy", "InterpolationMode"}
CLASSES = sorted(name for name in dir(v2) if isinstance(getattr(v2, name), type) and name not in NO_TRANSFORMS)


def training_image() -> TrainingImage:
    """Three rectangles, whose masks fill their boxes."""
    boxes = np.array([[20, 10, 44, 34], [2, 3, 12, 9], [50, 30, 64, 48]], np.float32)
    outlines = [[[box[i].item() for i in (0, 1, 2, 1, 2, 3, 0, 3)]] for box in boxes]
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)
    return TrainingImage(image, boxes, np.array([1, 2, 3]), np.array([False, False, True]), outlines)


def mask_of(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    return coco_mask.decode(segmentation)


def build(name: str) -> Any:
    return getattr(v2, name)(*ARGUMENTS.get(name, ()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", [name for name in CLASSES if name not in REFUSED])
@pytest.mark.parametrize("needs_masks", [True, False], ids=["masks", "boxes"])
def test_it_works(name: str, needs_masks: bool):
    transform = build(name)
    for number in range(5):
        result, again = (
            apply_to_pair(transform, training_image(), Random(0, 0, number, 0), needs_masks) for _ in range(2)
        )
        assert torch.equal(result.image, again.image)
        assert np.array_equal(result.boxes, again.boxes)
        assert result.image.dtype == torch.uint8
        assert len(result.boxes) == len(result.labels) == len(result.is_crowd) == len(result.segmentations)
        assert result.is_crowd.tolist() == (result.labels == 3).tolist()
        height, width = result.image.shape[-2:]
        for box, segmentation in zip(result.boxes, result.segmentations if needs_masks else [], strict=False):
            mask = mask_of(segmentation, height, width)
            assert mask.shape == (height, width)
            if mask.any() and name != "ElasticTransform":  # its boxes follow only their corners
                (ys,), (xs,) = np.nonzero(mask.any(axis=1)), np.nonzero(mask.any(axis=0))
                assert (np.array([xs[0], ys[0]]) >= box[:2] - 1.5).all()
                assert (np.array([xs[-1], ys[-1]]) + 1 <= box[2:] + 1.5).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", [name for name in CLASSES if name in REFUSED])
def test_it_is_refused_in_one_line(name: str):
    message = f"^data.train_transforms: {name} .*{REFUSED[name]}"
    with pytest.raises(InputError, match=message) as caught:
        apply_to_pair(build(name), training_image(), Random(0, 0, 0, 0), needs_masks=True)
    assert "\n" not in str(caught.value)


class DropFirst(v2.Transform):
    """Drops the first object from some entries of the target."""

    def __init__(self, *entries: str) -> None:
        super().__init__()
        self.entries = entries

    def forward(self, image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return image, {key: value[1:] if key in self.entries else value for key, value in target.items()}


def test_dropping_boxes_without_masks_is_refused_where_masks_are_needed():
    transform = DropFirst("boxes", "labels", "number", "iscrowd")
    result = apply_to_pair(transform, training_image(), Random(0, 0, 0, 0), needs_masks=False)
    assert result.labels.tolist() == [2, 3]
    message = "^data.train_transforms: DropFirst gives 2 boxes and 3 masks; drop both or none$"
    with pytest.raises(InputError, match=message):
        apply_to_pair(transform, training_image(), Random(0, 0, 0, 0), needs_masks=True)


def test_dropping_boxes_without_labels_is_refused():
    """As SanitizeBoundingBoxes does without a way to the labels."""
    sanitize = v2.Compose([v2.RandomCrop((20, 20)), v2.SanitizeBoundingBoxes(min_size=8, labels_getter=None)])
    with pytest.raises(InputError, match=r"^data.train_transforms: Compose gives \d box(es)? and 3 labels; drop"):
        apply_to_pair(sanitize, training_image(), Random(0, 0, 0, 0), needs_masks=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.uint16])
def test_another_dtype_is_refused_with_what_to_give(dtype: torch.dtype):
    class Converts(nn.Module):
        def forward(self, image: Any, target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return image.to(dtype), target

    with pytest.raises(InputError, match=rf"Converts gives an image of {dtype} \[3, 48, 64\]; keep it uint8"):
        apply_to_pair(Converts(), training_image(), Random(0, 0, 0, 0), needs_masks=False)
