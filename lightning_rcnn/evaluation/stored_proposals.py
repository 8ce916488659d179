"""What the proposals beside the images of a packed set are worth, and what is odd about them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.index import Category
from lightning_rcnn.data.reader import RawSample
from lightning_rcnn.data.stored_proposals import map_proposals
from lightning_rcnn.evaluation.proposal_recall import ProposalRecall
from lightning_rcnn.plural import plural
from lightning_rcnn.structures import ImageRecord, Proposals

LIMITS = (100, 300, 1000, 2000)

_OWN_FRAME = AxisAlignedMap(1.0, 0.0, 1.0, 0.0)
_MAX_NAMED = 3


class _Group(NamedTuple):
    """Objects whose recall is one figure."""

    name: str
    labels: frozenset[int]
    recall: ProposalRecall


class ProposalReport:
    """Recall of all objects and by class, numbers of proposals, and oddities.

    Crowds and difficult objects don't count; a proposal finds one object at most (`ProposalRecall`), in figures by
    class one object of each class.

    Args:
        categories: classes of the set.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        everything = _Group("all objects", frozenset(category.label for category in categories), ProposalRecall(LIMITS))
        single = [_Group(category.name, frozenset({category.label}), ProposalRecall(LIMITS)) for category in categories]
        self._groups = [everything, *single] if len(single) > 1 else [everything]
        self._objects: Counter[int] = Counter()
        self._num_ignored = 0
        self._numbers: list[int] = []
        self._images_without: list[str] = []
        self._num_outside = 0
        self._unreadable: list[str] = []

    def add(self, sample: RawSample) -> None:
        """Count one image and its proposals."""
        content = sample.content
        height, width = content["height"], content["width"]
        stored = np.zeros((0, 5), np.float32) if sample.proposals is None else sample.proposals
        placed = torch.from_numpy(map_proposals(stored, _OWN_FRAME, (height, width), len(stored)))[None]
        self._num_outside += len(stored) - placed.shape[1]
        self._numbers.append(placed.shape[1])
        if not placed.shape[1]:
            self._images_without.append(content["file_name"])
        proposals = Proposals(placed[..., :4], placed[..., 4], torch.ones(placed.shape[:2], dtype=torch.bool))
        counting = [a for a in content["annotations"] if not (a["iscrowd"] or a["difficult"])]
        self._num_ignored += len(content["annotations"]) - len(counting)
        self._objects.update(annotation["label"] for annotation in counting)
        record = ImageRecord(content["image_id"], content["file_name"], height, width)
        for group in self._groups:
            own = [annotation for annotation in counting if annotation["label"] in group.labels]
            if own:
                group.recall.update(proposals, [replace(record, annotations=own)])

    def add_unreadable(self, problem: str) -> None:
        """Count a sample that cannot be read; `problem` names it."""
        self._unreadable.append(problem)

    @property
    def recall(self) -> dict[str, dict[str, Any]]:
        """Figures of `ProposalRecall` by group, "all objects" or a class, for those of which there are objects."""
        return {group.name: group.recall.compute() for group in self._groups if self._num_objects(group)}

    def as_table(self) -> Group:
        """For people."""
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        table.add_column("recall of")
        table.add_column("objects", justify="right")
        table.add_column("IoU")
        for limit in LIMITS:
            table.add_column(f"@{limit}", justify="right")
        recall = self.recall
        for group in self._groups:
            for name, count, threshold in ((group.name, str(self._num_objects(group)), 50), ("", "", 70)):
                values = (recall.get(group.name, {}).get(f"R{threshold}@{limit}") for limit in LIMITS)
                texts = ("-" if value is None else f"{value:.3f}" for value in values)
                table.add_row(escape(name), count, f".{threshold}", *texts)
        return Group(table, *map(escape, self._sentences()))

    def _num_objects(self, group: _Group) -> int:
        return sum(self._objects[label] for label in group.labels)

    def _sentences(self) -> Iterable[str]:
        numbers = np.array(self._numbers or [0])
        yield (
            f"{plural(len(self._numbers), 'image')} with {numbers.mean():.0f} proposals on average, "
            f"{numbers.min()} to {numbers.max()}."
        )
        if self._num_ignored:
            yield f"{self._num_ignored} crowds and difficult objects do not count."
        if self._images_without:
            yield f"Without proposals: {plural(len(self._images_without), 'image')}, {_some(self._images_without)}."
        if self._num_outside:
            yield f"{self._num_outside} proposals lie outside their images and are never looked at."
        if self._unreadable:
            yield f"Unreadable: {plural(len(self._unreadable), 'sample')}, {_some(self._unreadable)}."


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + rest
