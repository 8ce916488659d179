"""Random regions of random packed bitmaps, and the results of torchvision's RoIAlign on the whole masks."""

import itertools
from dataclasses import dataclass, replace

import torch
import torchvision.ops

from lightning_rcnn.ops.cuda import bitmaps
from lightning_rcnn.structures import Bitmaps


@dataclass
class MaskCase:
    """Bitmaps of some images, regions of them, and the expected targets."""

    masks: Bitmaps
    boxes: torch.Tensor
    gt_index: torch.Tensor
    is_valid: torch.Tensor
    size: int
    aligned: bool
    expected: torch.Tensor

    def to(self, device):
        """Move the case to another device."""
        moved = {name: getattr(self, name).to(device) for name in ("boxes", "gt_index", "is_valid")}
        return replace(self, masks=Bitmaps(*(part.to(device) for part in self.masks)), **moved)


def draw_masks(seed):
    """Draw a case: masks on the image's edge, objects without a mask, a frame of twice or half their resolution.

    All coordinates are multiples of 1/64, so that the numbers of samples do not depend on rounding.
    """
    generator = torch.Generator().manual_seed(seed)

    def integer(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    num_images, num_objects, num_regions = integer(1, 2), integer(1, 4), integer(0, 6)
    height, width = integer(1, 40), integer(1, 40)
    scale, size, aligned = 2.0 ** integer(-1, 1), (1, 3, 7, 17)[integer(0, 3)], bool(integer(0, 1))
    dense = torch.zeros(num_images, num_objects, height, width)
    bits = []
    first_byte = torch.zeros(num_images, num_objects, dtype=torch.int64)
    sizes = torch.zeros(num_images, num_objects, 2, dtype=torch.int64)
    crop_boxes = torch.zeros(num_images, num_objects, 4)
    for index in itertools.product(range(num_images), range(num_objects)):
        if integer(0, 5) == 0:
            continue
        top, left = integer(0, height - 1), integer(0, width - 1)
        mask = dense[index]
        part = mask[top : top + integer(1, 20), left : left + integer(1, 20)]
        part.copy_(torch.rand(part.shape, generator=generator) < 0.6)
        bottom, right = min(top + part.shape[0] + 1, height), min(left + part.shape[1] + 1, width)
        top, left = max(top - 1, 0), max(left - 1, 0)
        pixels = mask[top:bottom, left:right].flatten().tolist()
        first_byte[index] = len(bits)
        sizes[index] = torch.tensor([bottom - top, right - left])
        crop_boxes[index] = torch.tensor([left, top, right, bottom]) * scale
        for first in range(0, len(pixels), 8):
            bits.append(sum(int(pixel) << 7 - bit for bit, pixel in enumerate(pixels[first : first + 8])))

    boxes = (torch.rand(num_images, num_regions, 4, generator=generator) * 1.6 - 0.3) * max(height, width)
    boxes = torch.cat((boxes[..., :2].minimum(boxes[..., 2:]), boxes[..., :2].maximum(boxes[..., 2:])), dim=-1)
    boxes = torch.round(boxes * 64) / 64 * scale
    gt_index = torch.randint(0, num_objects, (num_images, num_regions), generator=generator)
    is_valid = torch.rand(num_images, num_regions, generator=generator) < 0.9
    rois = torch.cat((torch.zeros(num_images, num_regions, 1), boxes.double()), dim=-1)
    if not aligned:  # a shift by half a pixel, and one pixel at least, of the resized frame
        rois[..., 1:3], rois[..., 3:] = rois[..., 1:3] + 0.5, rois[..., 3:].maximum(rois[..., 1:3] + 1) + 0.5
    rois[..., 1:] /= scale
    rois[..., 0] = torch.arange(num_images)[:, None] * num_objects + gt_index
    maps = dense.flatten(0, 1)[:, None].double()
    expected = torchvision.ops.roi_align(maps, rois.flatten(0, 1), size, 1.0, 0, True)
    expected = expected.view(num_images, num_regions, size, size) * is_valid[..., None, None]
    masks = Bitmaps(torch.tensor(bits, dtype=torch.uint8), first_byte, sizes, crop_boxes)
    return MaskCase(masks, boxes, gt_index, is_valid, size, aligned, expected.float())


def bitmap_error(case, device="cpu"):
    """Compute the largest difference between the kernel's and the expected targets; NaN if one is NaN."""
    moved = case.to(device)
    targets = bitmaps.align_bitmaps(moved.masks, moved.boxes, moved.gt_index, moved.is_valid, case.size, case.aligned)
    return (targets.cpu() - case.expected).abs().max().item() if targets.numel() else 0.0
