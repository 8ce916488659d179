"""A finding: something in the data that deserves a look, with the rule that found it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from lightning_rcnn.inspection.collecting import InspectedSet
from lightning_rcnn.inspection.duplicates import Copies
from lightning_rcnn.inspection.recipe import Recipe, Resized


class Level(StrEnum):
    """How sure a finding is; reports show them in this order."""

    WRONG = "wrong"
    DOUBTFUL = "doubtful"
    NOTE = "note"


class Shot(NamedTuple):
    """An image, and the objects in it that a finding is about.

    Attributes:
        of_set: position of the set in the list of sets.
        image: number of the image in the set.
        objects: numbers of the objects in the set; empty if the finding is about the whole image.
    """

    of_set: int
    image: int
    objects: tuple[int, ...] = ()


class Case(NamedTuple):
    """One case of a finding: one image, or several that belong together, and a remark."""

    shots: tuple[Shot, ...]
    remark: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that deserves a look.

    Attributes:
        kind: name for programs.
        level: how sure it is.
        title: what was found, with numbers.
        rule: rule that found it.
        advice: what to do about it.
        count: number of cases.
        cases: cases with images, the clearest first; empty if the finding is about a set.
    """

    kind: str
    level: Level
    title: str
    rule: str
    advice: str
    count: int
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True)
class Inspected:
    """Everything that rules look at.

    Attributes:
        sets: sets of images; the training set is the first.
        recipe: settings of the detector.
        resized: single objects of each set in the frame of the network.
        anchor_iou: IoU of each of them with its best anchor; None for a detector without anchors.
        copies: images that occur more than once.
    """

    sets: Sequence[InspectedSet]
    recipe: Recipe
    resized: Sequence[Resized]
    anchor_iou: Sequence[np.ndarray] | None
    copies: Sequence[Copies]


def share(part: float, whole: float) -> str:
    """Format a share as percent."""
    return f"{100 * part / max(whole, 1):.1f}%" if part else "0%"


def listed(names: Sequence[str], limit: int = 8) -> str:
    """List names, at most `limit` of them."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
