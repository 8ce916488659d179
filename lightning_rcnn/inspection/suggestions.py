"""Settings that fit the data better than those of the recipe, each with the figures that say so.

Shape letters: M objects.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from lightning_rcnn.data.padding import mixed_shape, padded_shapes, resized_sizes, round_up
from lightning_rcnn.inspection.collecting import InspectedSet
from lightning_rcnn.inspection.recipe import Recipe, Resized, anchor_iou, resized
from lightning_rcnn.rpn.anchors import AnchorSettings

LEGIBLE = 8.0
"""Shorter edge, resized, that nearly all objects should have, pixels."""
NEARLY_ALL = 0.95
MOST_ENLARGED = 2.0
"""Factor up to which enlarging images is worth its time."""
LEAST_GAIN = 0.05
"""Gain in the mean IoU, or in the share of objects with a good anchor, for which anchors are worth changing."""
MOST_LOST = 0.005
"""Share of objects with a good anchor that suggested anchors may lose."""
GOOD_IOU = 0.5
"""IoU from which an anchor is a good start."""
MEMORIES_GB = (8, 16, 24, 40, 80)
MOST_POOR = 0.1
"""Share of objects without such an anchor above which the anchors do not fit the set."""
_SAMPLED = 20_000
"""Objects that anchors are chosen by."""
_RATIOS = ((0.5, 1.0, 2.0), (1 / 3, 1.0, 3.0), (0.25, 0.5, 1.0, 2.0, 4.0))
_SMALLEST = tuple(4 * 2 ** (step / 2) for step in range(12))


@dataclass(frozen=True)
class Suggestion:
    """A setting of a configuration.

    Attributes:
        key: key in the configuration.
        now: its value in the recipe.
        better: suggested value; the same as now if the value fits.
        reason: figures that say so.
        fits: whether the value in the recipe is good as it is.
    """

    key: str
    now: str
    better: str
    reason: str
    fits: bool = True

    @property
    def verdict(self) -> str:
        """The suggested value, or for reports that none is needed, or that none was found."""
        return self.better if self.better != self.now else "fits" if self.fits else "none is better"


class BatchSizes(NamedTuple):
    """Images of a training step that fit into the memory of a device: in 16 and in 32 bits."""

    memory_gb: float
    in_16_bits: int
    in_32_bits: int


def suggestions(sets: Sequence[InspectedSet], recipe: Recipe) -> list[Suggestion]:
    """Return suggestions for the training set, the first of the sets; values that fit are confirmed."""
    one = sets[0]
    frame = resized(one, recipe.rule)
    if not len(frame.objects):
        return []
    size = _min_size(one, recipe, frame)
    found = [size, *_anchors(recipe, frame)]
    most = max(int(each.num_objects.max(initial=0)) for each in sets)
    limit = recipe.detections_per_image
    better = math.ceil(1.2 * most / 50) * 50 if most > limit else limit
    reason = f"an image has up to {most} objects, 95% have up to {np.quantile(one.num_objects, 0.95):.0f}"
    return [*found, Suggestion("model.box.detections_per_image", str(limit), str(better), reason)]


def batch_sizes(one: InspectedSet, recipe: Recipe, memories_gb: Sequence[float]) -> list[BatchSizes]:
    """Estimate batch sizes for the largest batch, which has the highest and widest images of a set; see `memory.py`."""
    if recipe.memory is None or not len(one):
        return []
    pixels = math.prod(mixed_shape(resized_sizes(recipe.rule, *one.sizes.T), padded_shapes(recipe.rule)))
    return [
        BatchSizes(
            memory,
            recipe.memory.batch_size(memory * 1e9, pixels, bits=16),
            recipe.memory.batch_size(memory * 1e9, pixels, bits=32),
        )
        for memory in memories_gb
    ]


def _min_size(one: InspectedSet, recipe: Recipe, frame: Resized) -> Suggestion:
    now = recipe.rule.min_size
    shorter = float(np.median(one.sizes.min(axis=1)))
    edge = float(np.quantile(frame.sides.min(axis=1), 1 - NEARLY_ALL))
    limit = round_up(math.ceil(MOST_ENLARGED * shorter))
    needed = now * LEGIBLE / max(edge, 1e-3)
    better = now
    if edge < LEGIBLE:
        better = max(now, min(round_up(math.ceil(needed)), limit))
    elif now > 1.1 * limit:
        better = max(limit, round_up(math.ceil(needed)))
    reason = (
        f"95% of the objects have a shorter edge of {edge:.0f} px or more after resizing; "
        f"the median image has a shorter edge of {shorter:.0f} px"
    )
    if better < now:
        reason += f", so {now} enlarges it {now / shorter:.1f} times, which costs time and adds nothing"
    if better > now:
        reason += f"; {better} makes it {edge * better / now:.0f} px"
    return Suggestion("model.preprocessing.min_size", str(now), str(better), reason, edge >= LEGIBLE)


def _anchors(recipe: Recipe, frame: Resized) -> list[Suggestion]:
    if recipe.rpn is None:
        return []
    chosen = np.random.default_rng(0).permutation(len(frame.objects))[:_SAMPLED]
    sample = Resized(frame.objects[chosen], frame.boxes[chosen], frame.sizes[chosen])
    now = recipe.rpn.anchors
    before = _quality(recipe, sample, now)
    best, quality = now, before
    for ratios in (now.ratios, *_RATIOS):
        for smallest in _SMALLEST:
            sizes = tuple(_readable(smallest * 2**level) for level in range(len(now.sizes)))
            candidate = replace(now, sizes=sizes, ratios=ratios)
            reached = _quality(recipe, sample, candidate)
            # More ratios are more anchors, and have to gain more.
            price = LEAST_GAIN * (ratios != best.ratios)
            keeps = reached[0] >= before[0] - MOST_LOST
            if keeps and sum(reached) > sum(quality) + max(price, 1e-6):
                best, quality = candidate, reached
    if max(after - earlier for after, earlier in zip(quality, before, strict=True)) < LEAST_GAIN:
        best, quality = now, before
    good, mean = before
    reason = f"{good:.1%} of the objects have an anchor with an IoU of {GOOD_IOU} or more; the mean of the best is "
    reason += f"{mean:.2f}"
    if best != now:
        reason += f"; with the suggested ones {quality[0]:.1%} and {quality[1]:.2f}"
    listed = _as_list(now.sizes), _as_list(best.sizes)
    found = [Suggestion("model.rpn.anchors.sizes", *listed, reason, good >= 1 - MOST_POOR)]
    if best.ratios != now.ratios:
        found.append(Suggestion("model.rpn.anchors.ratios", _as_list(now.ratios), _as_list(best.ratios), reason))
    return found


def _quality(recipe: Recipe, frame: Resized, anchors: AnchorSettings) -> tuple[float, float]:
    """Return the share of objects with a good anchor, and the mean IoU of the best ones."""
    assert recipe.rpn is not None
    iou = anchor_iou(frame, recipe.rpn, anchors, recipe.strides)
    return float((iou >= GOOD_IOU).mean()), float(iou.mean())


def _readable(size: float) -> float:
    return float(round(size)) if size < 32 else float(round(size / 4) * 4)


def _as_list(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.3g}" if value < 1 else f"{value:g}" for value in values) + "]"
