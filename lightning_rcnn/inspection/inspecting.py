"""The inspection of sets: facts, copies, fit of the anchors, findings and suggestions."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from lightning_rcnn.inspection.collecting import InspectedSet
from lightning_rcnn.inspection.duplicates import find_copies
from lightning_rcnn.inspection.findings.all import find_all
from lightning_rcnn.inspection.findings.finding import Finding, Inspected
from lightning_rcnn.inspection.recipe import Recipe, anchor_iou, resized
from lightning_rcnn.inspection.suggestions import BatchSizes, Suggestion, batch_sizes, suggestions


@dataclass(frozen=True)
class Inspection:
    """The outcome.

    Attributes:
        data: sets, recipe and what was computed of them.
        findings: what deserves a look, the surest first.
        suggestions: settings that fit the data.
        batch_sizes: images of a training step by memory; empty if unknown.
    """

    data: Inspected
    findings: list[Finding]
    suggestions: list[Suggestion]
    batch_sizes: list[BatchSizes]


def inspect_sets(
    sets: Sequence[InspectedSet], recipe: Recipe, memories_gb: Sequence[float], console: Console
) -> Inspection:
    """Inspect sets, the training set first.

    Args:
        sets: the collected sets.
        recipe: settings of the detector.
        memories_gb: memory of devices, GB, to suggest batch sizes for.
        console: console for progress.
    """
    frames = [resized(one, recipe.rule) for one in sets]
    rpn = recipe.rpn
    iou = None if rpn is None else [anchor_iou(frame, rpn, rpn.anchors, recipe.strides) for frame in frames]
    data = Inspected(sets, recipe, frames, iou, find_copies(sets, console))
    return Inspection(data, find_all(data), suggestions(sets, recipe), batch_sizes(sets[0], recipe, memories_gb))
