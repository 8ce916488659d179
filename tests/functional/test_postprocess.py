import pytest
import torch
import torchvision

from lightning_rcnn.functional.postprocess import select_detections, to_original_frame
from lightning_rcnn.structures import PADDING_LABEL, Detections, Proposals


def test_boxes_without_area_in_the_original_frame_become_padding():
    """A box outside the image is clipped to its edge and becomes empty."""
    detections = Detections(
        boxes=torch.tensor([[[10.0, 10, 50, 40], [100, 10, 100, 40], [0, 0, 20, 1e-30]]]),
        scores=torch.tensor([[0.9, 0.8, 0.7]]),
        labels=torch.tensor([[2, 1, 3]]),
    )
    moved = to_original_frame(detections, torch.tensor([[50, 100]]), torch.tensor([[100, 200]]))
    assert moved.labels.tolist() == [[2, PADDING_LABEL, 3]]
    torch.testing.assert_close(moved.scores, torch.tensor([[0.9, 0.0, 0.7]]))
    assert moved.boxes[0, 0].tolist() == [20, 20, 100, 80]


def select(min_size):
    """Select two detections of three proposals, the first without width."""
    proposals = Proposals(
        torch.tensor([[[30.0, 0, 30, 20], [0, 0, 20, 20], [50, 0, 70, 20]]]),
        torch.zeros(1, 3),
        torch.ones(1, 3, dtype=torch.bool),
    )
    logits = torch.tensor([[[0.0, 5], [0, 4], [0, 3]]])
    return select_detections(
        proposals,
        logits,
        torch.zeros(1, 3, 1, 4),
        torch.tensor([[100, 100]]),
        box_weights=(10.0, 10.0, 5.0, 5.0),
        score_threshold=0.05,
        nms_iou=0.5,
        max_detections=2,
        min_size=min_size,
    )


def test_torchvisions_min_size_drops_an_empty_box_and_detectron2s_keeps_it():
    assert select(1e-2).boxes[0, :, 0].tolist() == [0, 50]
    assert select(0.0).boxes[0, :, 0].tolist() == [30, 0]


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_an_object_has_one_class_where_boxes_suppress_each_other_across_classes(kind):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(40, 2, generator=generator) * 60
    boxes = torch.cat((corners, corners + 10 + torch.rand(40, 2, generator=generator) * 30), dim=1)
    logits = torch.randn(40, 4, generator=generator) * 3
    found = select_detections(
        Proposals(boxes[None], torch.zeros(1, 40), torch.ones(1, 40, dtype=torch.bool)),
        logits[None],
        torch.zeros(1, 40, 3, 4),
        torch.tensor([[100, 100]]),
        box_weights=(10.0, 10.0, 5.0, 5.0),
        score_threshold=0.3,
        nms_iou=0.4,
        max_detections=40,
        nms=kind,
        nms_across_classes=True,
    )
    scores = logits.softmax(1)[:, 1:].flatten()
    candidates = (scores > 0.3).nonzero()[:, 0]
    every_class = boxes.repeat_interleave(3, dim=0)
    kept = candidates[torchvision.ops.nms(every_class[candidates], scores[candidates], 0.4)]
    is_found = found.labels[0] != PADDING_LABEL
    if kind == "hard":
        torch.testing.assert_close(found.boxes[0, is_found], every_class[kept])
        assert found.labels[0, is_found].tolist() == (kept % 3 + 1).tolist()
    else:
        assert found.scores[0].max() == scores.max()
        per_class = torchvision.ops.batched_nms(every_class[candidates], scores[candidates], candidates % 3, 0.4)
        assert len(kept) < is_found.sum() <= len(candidates)
        assert len(kept) < len(per_class), "the case has objects of two classes"
