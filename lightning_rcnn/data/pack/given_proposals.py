"""Read proposals from a file of boxes with image ids."""

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
"""A larger number becomes infinite when proposals are stored."""


class GivenProposals:
    """Boxes of a file for the images of a packed set.

    Args:
        path: JSON file in COCO's results format: a list of `image_id`, `bbox` (x, y, width, height in pixels of the
            original frame) and `score`, higher is better; other keys are ignored.
        index: index of the packed set.
        limit: maximum number of boxes per image; the best are kept.

    Attributes:
        method: description of everything that determines the boxes.

    Raises:
        InputError: the file is missing or not such a list, or has boxes of an image that is not in the set.
    """

    def __init__(self, path: Path, index: ShardIndex, limit: int) -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); give a JSON file of boxes") from error
        entries = parse_json(data, path)
        if not isinstance(entries, list):
            raise InputError(f"{path}: not a list; give a list of boxes with image_id, bbox and score")
        known = {image_id for shard in index.shards for image_id in shard.image_ids}
        rows: defaultdict[int, list[list[float]]] = defaultdict(list)
        for box_index, entry in enumerate(entries):
            location = f"{path}: box {box_index}"
            row = _row(entry, location)
            image_id = whole_number(entry["image_id"])
            if image_id is None:
                raise InputError(
                    f"{location} has the image id {entry['image_id']!r}, but ids in shards are integers; give the "
                    "numbers that `pack` gave to text ids: the next ones, in the order of the list"
                )
            if image_id not in known:
                raise InputError(
                    f"{location} has the image id {entry['image_id']!r}, which {index.name} does not have; "
                    "give proposals of this data set"
                )
            rows[image_id].append(row)
        self._proposals = {image_id: _best(image_rows, limit) for image_id, image_rows in rows.items()}
        self.method = f"boxes of {path.name} ({sha256(data).hexdigest()[:16]}), best {limit}"

    def __call__(self, sample: RawSample) -> np.ndarray:
        """Return the proposals of a sample, float32 [P, 5], best first; empty if the file has none."""
        return self._proposals.get(sample.content["image_id"], np.zeros((0, 5), np.float32))


def _row(entry: Any, location: str) -> list[float]:
    """Return x1, y1, x2, y2 and score."""
    box = read_box(entry.get("bbox")) if isinstance(entry, dict) else None
    score = number(entry.get("score")) if isinstance(entry, dict) else None
    if box is None or score is None or not isinstance(entry.get("image_id"), int | float | str):
        raise InputError(f"{location} lacks image_id, bbox (x, y, width, height) or score; add it")
    x, y, width, height = box
    row = [x, y, x + width, y + height, score]
    if not all(abs(number) < _FLOAT32_MAX for number in row) or width <= 0 or height <= 0:
        raise InputError(
            f"{location}: bbox {entry['bbox']} with score {score} is empty or not finite; correct or remove it"
        )
    return row


def _best(rows: list[list[float]], limit: int) -> np.ndarray:
    proposals = np.array(rows, np.float32)
    return proposals[np.argsort(-proposals[:, 4], kind="stable")][:limit]
