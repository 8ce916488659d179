import pytest
import torch
from torchvision.models.detection.rpn import RPNHead as TorchvisionRPNHead

from lightning_rcnn.rpn.head import RPNHead
from lightning_rcnn.rpn.proposals import select_proposals


@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_head_is_torchvisions(num_layers):
    theirs = TorchvisionRPNHead(8, 3, conv_depth=num_layers)
    ours = RPNHead(8, 3, num_layers)
    for one, other in zip((ours.conv, *ours.more_convs), theirs.conv, strict=True):
        one.load_state_dict(other[0].state_dict())
    ours.objectness.load_state_dict(theirs.cls_logits.state_dict())
    ours.deltas.load_state_dict(theirs.bbox_pred.state_dict())
    features = torch.randn(2, 8, 5, 6)
    (logits,), (deltas,) = ours([features])
    (their_logits,), (their_deltas,) = theirs([features])
    torch.testing.assert_close(logits, their_logits.permute(0, 2, 3, 1).flatten(1))
    torch.testing.assert_close(deltas, their_deltas.permute(0, 2, 3, 1).reshape(2, -1, 4))


def test_empty_boxes_are_dropped_for_any_minimum_size():
    anchors = torch.tensor([[0.0, 0, 10, 10], [-20, 0, 0, 10], [30, 30, 30.5, 40]])
    proposals = select_proposals(
        [anchors],
        [torch.tensor([[1.0, 3, 2]])],
        [torch.zeros(1, 3, 4)],
        torch.tensor([[50, 50]]),
        pre_nms_top_n=10,
        post_nms_top_n=10,
        nms_iou=0.7,
        min_size=0.0,
        ranking="logit",
    )
    assert proposals.boxes[0, proposals.is_valid[0]].tolist() == [[30, 30, 30.5, 40], [0, 0, 10, 10]]


@pytest.mark.parametrize("ranking", ["logit", "probability"])
def test_proposals_of_a_lower_probability_are_dropped_before_suppression(ranking):
    anchors = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [30, 30, 40, 40]])
    logits = torch.tensor([[0.1, 0.3, 0.2]]).logit()
    proposals = select_proposals(
        [anchors],
        [logits],
        [torch.zeros(1, 3, 4)],
        torch.tensor([[50, 50]]),
        pre_nms_top_n=10,
        post_nms_top_n=10,
        nms_iou=0.7,
        min_size=0.0,
        ranking=ranking,
        score_threshold=0.15,
    )
    assert proposals.boxes[0, proposals.is_valid[0]].tolist() == [[20, 0, 30, 10], [30, 30, 40, 40]]
