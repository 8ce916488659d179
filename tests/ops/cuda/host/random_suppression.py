"""Random boxes in groups, with ties and empty boxes, and the boxes that torchvision's NMS keeps on the CPU."""

from dataclasses import dataclass, replace

import torch
import torchvision.ops

from lightning_rcnn.ops.cuda import suppression


@dataclass
class SuppressionCase:
    """Boxes of some images, and which of them are expected to be kept."""

    boxes: torch.Tensor
    scores: torch.Tensor
    groups: torch.Tensor
    iou_threshold: float
    expected: torch.Tensor

    def to(self, device):
        """Move the case to another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in ("boxes", "scores", "groups")})


def draw_boxes(seed):
    """Draw a case: few or many boxes, repeated scores and boxes, boxes without area, ignored boxes.

    Coordinates are whole and not negative, so that torchvision's shifts separate the groups exactly.
    """
    generator = torch.Generator().manual_seed(seed)

    def integer(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    num_images, num_boxes = integer(1, 2), (0, 1, 5, 40, 130, 200)[integer(0, 5)]
    shape, reach = (num_images, num_boxes), (10, 40, 200)[integer(0, 2)]
    corners = torch.randint(0, reach, (*shape, 2), generator=generator)
    sides = torch.randint(0, 24, (*shape, 2), generator=generator)
    boxes = torch.cat((corners, corners + sides), dim=-1).float()
    scores = torch.randn(shape, generator=generator)
    if seed % 2:
        scores = (scores * 3).round() / 3  # many equals, and zeros of both signs
    scores[torch.rand(shape, generator=generator) < 0.1] = -torch.inf
    groups = torch.randint(0, (1, 2, 5, 90)[integer(0, 3)], shape, generator=generator)
    threshold = (0.0, 0.3, 0.5, 0.7, 1.0)[integer(0, 4)]
    expected = torch.zeros(shape, dtype=torch.bool)
    for image in range(num_images):
        present = scores[image].isfinite().nonzero().squeeze(1)
        arguments = (part[image, present] for part in (boxes, scores, groups))
        expected[image, present[torchvision.ops.batched_nms(*arguments, threshold)]] = True
    return SuppressionCase(boxes, scores, groups, threshold, expected)


def num_wrong(case, device="cpu"):
    """Count the boxes that the kernel keeps or suppresses wrongly."""
    moved = case.to(device)
    keep = suppression.suppress(moved.boxes, moved.scores, moved.groups, case.iou_threshold)
    return (keep.cpu() != case.expected).sum().item()
