import torch
import torchvision.ops
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_rcnn.ops.nms import batched_nms, non_maximum_suppression

coordinate = st.integers(0, 12)
box = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), coordinate, coordinate, coordinate, coordinate)
candidate = st.tuples(box, st.sampled_from([-1.0, -0.0, 0.0, 0.25, 0.5, 1.0]), st.integers(0, 2), st.booleans())


@settings(max_examples=150)
@given(st.lists(st.lists(candidate, max_size=30), min_size=1, max_size=3), st.floats(0, 1), st.integers(1, 40))
def test_keeps_the_boxes_of_torchvision_in_its_order(images, threshold, max_kept):
    """Few positions and scores make ties of all kinds; whole numbers make torchvision's shifts of groups exact."""
    size = max(1, *map(len, images))
    boxes, scores = torch.zeros(len(images), size, 4), torch.full((len(images), size), -torch.inf)
    groups = torch.zeros(len(images), size, dtype=torch.int64)
    for slot, candidates in enumerate(images):
        for index, (corners, score, group, is_present) in enumerate(candidates):
            boxes[slot, index], groups[slot, index] = torch.tensor(corners), group
            scores[slot, index] = score if is_present else -torch.inf
    kept = batched_nms(boxes, scores, groups, threshold, max_kept)
    for slot in range(len(images)):
        present = scores[slot].isfinite().nonzero().squeeze(1)
        theirs = torchvision.ops.batched_nms(
            boxes[slot, present], scores[slot, present], groups[slot, present], threshold
        )
        expected = present[theirs][:max_kept]
        assert kept.indices[slot, kept.is_valid[slot]].tolist() == expected.tolist()
        assert kept.scores[slot, : len(expected)].equal(scores[slot, expected])
        assert not kept.is_valid[slot, len(expected) :].any()
        assert kept.scores[slot, len(expected) :].isneginf().all()
    assert kept.indices.shape == (len(images), min(max_kept, size))


def test_operator_obeys_the_rules_of_torch_library():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]]])
    scores, groups = torch.tensor([[0.9, 0.8, 0.7]]), torch.zeros(1, 3, dtype=torch.int64)
    torch.library.opcheck(non_maximum_suppression, (boxes, scores, groups, 0.5))
    assert non_maximum_suppression(boxes, scores, groups, 0.5).tolist() == [[True, False, True]]
