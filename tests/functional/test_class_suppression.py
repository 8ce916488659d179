"""Suppression across classes, beside a hand-computed case and torchvision's operator."""

import torch
from torchvision.ops import batched_nms

from lightning_rcnn.functional.class_suppression import suppress_across_classes
from lightning_rcnn.structures import Detections


def test_the_better_of_two_classes_in_one_place_stays_with_its_mask():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [5, 0, 15, 10]])
    scores, labels = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([1, 2, 1, 2])
    numbers = torch.arange(4.0)[:, None, None]
    parts = boxes, scores, labels, numbers.expand(4, 3, 3), numbers.expand(4, 2, 3)
    image = Detections._make(part[None] for part in parts)
    nothing = Detections(*(part[:, :0] for part in image[:3]))
    found, empty = suppress_across_classes([image, nothing], 0.5)
    assert found.labels.tolist() == [[1, 1, 2]]
    assert found.masks[0, :, 0, 0].tolist() == found.keypoints[0, :, 0, 0].tolist() == [0, 2, 3]
    assert empty.boxes.shape == (1, 0, 4)


def test_it_keeps_what_torchvision_keeps_of_one_class():
    torch.manual_seed(0)
    corners = 100 * torch.rand(300, 2)
    boxes = torch.cat([corners, corners + 5 + 40 * torch.rand(300, 2)], dim=1)
    scores = torch.rand(300).sort(descending=True).values
    image = Detections(boxes[None], scores[None], torch.randint(1, 4, (1, 300)))
    (found,) = suppress_across_classes([image], 0.3)
    kept = batched_nms(boxes, scores, torch.zeros(300, dtype=torch.int64), 0.3)
    assert torch.equal(found.boxes[0], boxes[kept])
    assert torch.equal(found.labels[0], image.labels[0, kept])
