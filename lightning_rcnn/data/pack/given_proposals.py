"""Proposals that somebody else made: a file of boxes with image ids."""

from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lightning_rcnn.data.formats.coco.boxes import read_box
from lightning_rcnn.data.formats.coco.json_files import parse_json
from lightning_rcnn.data.formats.coco.scalars import number, whole_number
from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.reader import RawSample
from lightning_rcnn.errors import InputError

_FLOAT32_MAX = float(np.finfo(np.float32).max)
"""Beyond it, a number is infinite where proposals are stored."""


class GivenProposals:
    """The boxes of a file, for the images of a packed set.

    Args:
        path: JSON, a list of `image_id`, `bbox` (x, y, width, height in the original frame) and `score`, higher is
            better: COCO's results format, whose other keys don't matter.
        index: of the packed set.
        limit: the most boxes that are kept of an image, the best ones.

    Attributes:
        method: all that decides the boxes, in words.

    Raises:
        InputError: no such file, not such a list, or boxes of an image that the set doesn't have.
    """

    def __init__(self, path: Path, index: ShardIndex, limit: int) -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        entries = parse_json(data, path)
        if not isinstance(entries, list):
            raise InputError(f"{path}: a list of boxes with image_id, bbox and score is wanted")
        known = {image_id for shard in index.shards for image_id in shard.image_ids}
        rows: defaultdict[int, list[list[float]]] = defaultdict(list)
        for number_of_box, entry in enumerate(entries):
            place = f"{path}: box {number_of_box}"
            row = _row(entry, place)
            image_id = whole_number(entry["image_id"])
            if image_id is None:
                raise InputError(
                    f"{place} is of image {entry['image_id']!r}; shards have whole numbers for ids, and `pack` gives "
                    "text ids the next ones, in the order of the list: give these numbers"
                )
            if image_id not in known:
                raise InputError(
                    f"{place} is of image {entry['image_id']!r}, which {index.name} does not have; "
                    "these are proposals of another data set"
                )
            rows[image_id].append(row)
        self._proposals = {image_id: _best(image_rows, limit) for image_id, image_rows in rows.items()}
        self.method = f"boxes of {path.name} ({sha256(data).hexdigest()[:16]}), best {limit}"

    def __call__(self, sample: RawSample) -> np.ndarray:
        """Float32 [P, 5], best first; empty for an image that the file leaves out."""
        return self._proposals.get(sample.content["image_id"], np.zeros((0, 5), np.float32))


def _row(entry: Any, place: str) -> list[float]:
    """x1, y1, x2, y2 and score."""
    box = read_box(entry.get("bbox")) if isinstance(entry, dict) else None
    score = number(entry.get("score")) if isinstance(entry, dict) else None
    if box is None or score is None or not isinstance(entry.get("image_id"), int | float | str):
        raise InputError(f"{place} lacks image_id, bbox (x, y, width, height) or score")
    x, y, width, height = box
    row = [x, y, x + width, y + height, score]
    if not all(abs(number) < _FLOAT32_MAX for number in row) or width <= 0 or height <= 0:
        raise InputError(f"{place}: bbox {entry['bbox']} with score {score} is no box with a score")
    return row


def _best(rows: list[list[float]], limit: int) -> np.ndarray:
    proposals = np.array(rows, np.float32)
    return proposals[np.argsort(-proposals[:, 4], kind="stable")][:limit]
