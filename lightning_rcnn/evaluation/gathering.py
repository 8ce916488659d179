"""Bringing what each rank holds to rank 0, and rank 0's answer back to all. Works for ranks that hold nothing."""

from collections.abc import Callable
from typing import Any

from lightning_rcnn.distributed import gather_on_rank_zero, is_distributed, share_from_rank_zero


def score_on_rank_zero(held: dict[int, Any], score: Callable[[dict[int, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Merge what all ranks hold, by image id, score it once and share the result.

    Args:
        held: image id -> anything that can be pickled; an image that several ranks hold counts once.
        score: called on rank 0 only.

    Returns:
        What `score` returned, on every rank.

    Raises:
        RuntimeError: with what `score` raised, on every rank: one that waited for an answer would hang.
    """
    if not is_distributed():
        return score(held)
    answer: dict[str, Any] | str | None = None
    if parts := gather_on_rank_zero(held):
        try:
            answer = score({image_id: image for part in parts for image_id, image in part.items()})
        except Exception as error:
            answer = f"scoring failed on rank 0: {error!r}"  # in words, since not every exception can be sent
    answer = share_from_rank_zero(answer)
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return answer
