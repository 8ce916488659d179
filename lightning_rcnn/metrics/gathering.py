"""Bringing what each rank holds to rank 0, and rank 0's answer back to all. Works for ranks that hold nothing."""

from collections.abc import Callable
from typing import Any

from torch.distributed import (
    broadcast_object_list,
    gather_object,
    get_rank,
    get_world_size,
    is_available,
    is_initialized,
)


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
    if not (is_available() and is_initialized()) or get_world_size() == 1:
        return score(held)
    parts: list[dict[int, Any]] | None = [{} for _ in range(get_world_size())] if get_rank() == 0 else None
    gather_object(held, parts)
    answer: list[Any] = [None]
    if parts is not None:
        try:
            answer = [score({image_id: image for part in parts for image_id, image in part.items()})]
        except Exception as error:
            answer = [f"scoring failed on rank 0: {error!r}"]  # in words, since not every exception can be sent
    broadcast_object_list(answer)
    if isinstance(answer[0], str):
        raise RuntimeError(answer[0])
    return answer[0]
