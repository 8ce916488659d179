"""The numbers of ranks and images when nodes are lost: by hand, and what must hold for all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.healing.layout import Layout, with_nodes


@pytest.mark.parametrize(
    ("whole", "nodes", "expected"),
    [
        (Layout(3, 1, 2), 2, Layout(2, 1, 3)),
        (Layout(3, 1, 2), 1, Layout(1, 1, 6)),
        (Layout(2, 8, 2), 1, Layout(1, 8, 4)),
        (Layout(4, 8, 2), 3, Layout(2, 8, 4)),  # 24 ranks do not divide 64 images, 16 do
        (Layout(4, 6, 1), 3, Layout(3, 4, 2)),  # 12 ranks: rather on three nodes than on two
        (Layout(5, 1, 1), 4, Layout(1, 1, 5)),
        (Layout(3, 4, 2), 4, Layout(3, 4, 2)),  # one is spare
    ],
)
def test_by_hand(whole, nodes, expected):
    assert with_nodes(whole, nodes) == expected


@given(*[st.integers(1, 16)] * 4)
def test_the_global_batch_stays_and_no_node_or_rank_is_made_up(nodes, ranks, batch_size, left):
    whole = Layout(nodes, ranks, batch_size)
    layout = with_nodes(whole, left)
    assert layout.global_batch_size == whole.global_batch_size
    assert 1 <= layout.nodes <= min(left, nodes)
    assert 1 <= layout.ranks <= ranks
    if left >= nodes:
        assert layout == whole
