"""Batches of a stream: each item once, one size a batch, and no item waits for long."""

from hypothesis import given
from hypothesis import strategies as st

from lightning_rcnn.detection.batching import in_batches


@given(st.lists(st.integers(0, 30), max_size=300), st.integers(1, 5))
def test_each_item_once_in_batches_of_one_size_and_soon(sizes, batch_size):
    taken = []

    def stream():
        for number, size in enumerate(sizes):
            taken.append(number)
            yield number, size

    seen = []
    for batch in in_batches(stream(), lambda item: item[1], batch_size):
        assert 1 <= len(batch) <= batch_size
        assert len({size for _, size in batch}) == 1
        seen += [number for number, _ in batch]
        assert len(taken) - len(seen) <= 8 * batch_size
    assert sorted(seen) == list(range(len(sizes)))
