"""Bringing what each rank holds to rank 0, and rank 0's answer back to all. Works for ranks that hold nothing.

What travels are few long arrays, or bytes: lists of Python objects take many times the room and the time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lightning_rcnn.distributed import is_distributed, is_rank_zero, share_from_rank_zero, values_in_turn

Part = TypeVar("Part")


def score_on_rank_zero(part: Part, score: Callable[[Iterator[Part]], dict[str, Any]]) -> dict[str, Any]:
    """Score what all ranks hold once, and share the result.

    Args:
        part: what this rank holds: arrays or bytes, or what can be pickled.
        score: called on rank 0 only, with the parts of all ranks in their order. They arrive while it iterates, one at
            a time, so it has room for the next where it keeps none.

    Returns:
        What `score` returned, on every rank.

    Raises:
        RuntimeError: with what `score` raised, on every rank: one that waited for an answer would hang.
    """
    parts = values_in_turn(part)
    if not is_distributed():
        return score(parts)
    answer: dict[str, Any] | str | None = None
    if is_rank_zero():
        try:
            answer = score(parts)
        except Exception as error:
            answer = f"scoring failed on rank 0: {error!r}"  # in words, since not every exception can be sent
    for _ in parts:  # all ranks pass on what rank 0 did not ask for
        pass
    answer = share_from_rank_zero(answer)
    if isinstance(answer, str):
        raise RuntimeError(answer)
    assert answer is not None
    return answer


class ArraysOfImages(NamedTuple):
    """Arrays of many images, laid end to end.

    Attributes:
        image_ids: int64 [I].
        lengths: for each kind of array int64 [I], how long it is of each image, along the last axis.
        arrays: for each kind one array; none without images.
    """

    image_ids: np.ndarray
    lengths: list[np.ndarray]
    arrays: list[np.ndarray]


def join_arrays(images: Mapping[int, Sequence[np.ndarray]]) -> ArraysOfImages:
    """Lay the arrays of all images end to end, along the last axis.

    Args:
        images: by id; each has the same kinds of arrays.
    """
    kinds = list(zip(*images.values(), strict=True))
    lengths = [np.array([array.shape[-1] for array in kind], dtype=np.int64) for kind in kinds]
    return ArraysOfImages(
        np.array(list(images), dtype=np.int64), lengths, [np.concatenate(kind, axis=-1) for kind in kinds]
    )


def split_arrays(parts: Iterable[ArraysOfImages]) -> dict[int, tuple[np.ndarray, ...]]:
    """Arrays by image id, as views of `parts`; of an image in several parts the last one counts."""
    images: dict[int, tuple[np.ndarray, ...]] = {}
    for part in parts:
        kinds = [
            np.split(array, lengths.cumsum()[:-1], axis=-1)
            for array, lengths in zip(part.arrays, part.lengths, strict=True)
        ]
        images.update(zip(part.image_ids.tolist(), zip(*kinds, strict=True), strict=False))
    return images
