import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms

from lightning_rcnn.nms import non_maximum_suppression


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0.1, 0.9))
def test_keeps_what_batched_nms_keeps(seed, num_groups, threshold):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, 60, 2, generator=generator) * 50
    boxes = torch.cat((corners, corners + 1 + torch.rand(2, 60, 2, generator=generator) * 30), dim=-1)
    scores = torch.rand(2, 60, generator=generator)
    absent = torch.rand(2, 60, generator=generator) < 0.2
    groups = torch.randint(0, num_groups, (2, 60), generator=generator)
    keep = non_maximum_suppression(boxes, scores.masked_fill(absent, -torch.inf), groups, threshold)
    for image in range(2):
        present = (~absent[image]).nonzero().squeeze(1)
        kept = batched_nms(boxes[image, present], scores[image, present], groups[image, present], threshold)
        assert keep[image].nonzero().squeeze(1).equal(present[kept].sort().values)


def test_operator_obeys_the_rules_of_torch_library():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]]])
    scores, groups = torch.tensor([[0.9, 0.8, 0.7]]), torch.zeros(1, 3, dtype=torch.int64)
    torch.library.opcheck(non_maximum_suppression, (boxes, scores, groups, 0.5))
    assert non_maximum_suppression(boxes, scores, groups, 0.5).tolist() == [[True, False, True]]
