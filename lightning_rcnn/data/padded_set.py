"""A data set with its resize rules: the sizes and padded shapes from which the planner works."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_rcnn.data.epoch_counts import EpochCounts
from lightning_rcnn.data.padding import (
    padded_shapes,
    resized_sizes,
    round_up,
    shrunk_to_fit,
    smallest_holding,
    sort_shapes,
)
from lightning_rcnn.data.plan import Entries, Plan, entry_number, epoch_entries, plan_evaluation, plan_training_epoch
from lightning_rcnn.data.resize import OriginalSize, ResizeRule
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.data.transforms.pipeline import size_settings, target_size
from lightning_rcnn.data.transforms.planned import planned_sizes, planned_transforms
from lightning_rcnn.errors import InputError


@dataclass(frozen=True)
class PaddedSet:
    """Shards with the resized sizes of their images and the padded shapes, for each resize rule.

    Attributes:
        shard_set: index and addresses of the shards.
        rules: one resize rule, or several for multi-scale training.
        sizes: for each rule, resized (height, width), int64 [N, 2], pixels.
        shapes: for each rule, padded (height, width), int64 [K, 2], pixels, smallest area first; the last one holds
            every image.
        transforms: transforms of training images.
    """

    shard_set: ShardSet
    rules: tuple[ResizeRule, ...]
    sizes: tuple[np.ndarray, ...]
    shapes: tuple[np.ndarray, ...]
    transforms: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.shard_set.index)

    @property
    def largest_shape(self) -> tuple[int, int]:
        """Padded (height, width) of the batch that takes the most memory."""
        height, width = max((of_rule[-1].tolist() for of_rule in self.shapes), key=math.prod)
        return height, width

    @property
    def areas(self) -> np.ndarray:
        """Number of pixels of each image in its original size, int64 [N]."""
        heights, widths = _original_sizes(self.shard_set)
        return heights * widths

    @property
    def padding(self) -> str:
        """Hash of sizes, shapes and transforms that change sizes, which determine the images that can share a batch."""
        digest = hashlib.sha256()
        for array in (*self.sizes, *self.shapes):
            digest.update(repr(array.shape).encode() + array.tobytes())
        if settings := size_settings(self.transforms):
            digest.update(json.dumps(settings, sort_keys=True).encode())
        return digest.hexdigest()

    def balance(self, window: int) -> str:
        """Hash of what determines the images that `balance_window` exchanges; empty if it exchanges none."""
        return hashlib.sha256(f"{window}".encode() + self._objects.tobytes()).hexdigest() if window > 1 else ""

    def plan_training(
        self,
        epoch: int,
        *,
        seed: int,
        batch_size: int,
        rank: int,
        world: int,
        window: int,
        balance_window: int = 1,
        counts: EpochCounts | None = None,
    ) -> Plan:
        """Plan one rank's batches of a training epoch, which has each image as often as `counts` draws, or once."""
        shard_sizes = [len(shard) for shard in self.shard_set.index.shards]
        entries = epoch_entries(np.ones(len(self), np.int64) if counts is None else counts.draw(seed, epoch))
        global_plan = plan_training_epoch(
            shard_sizes,
            self._sizes_of(entries, epoch, seed),
            self.shapes,
            global_batch_size=batch_size * world,
            seed=seed,
            epoch=epoch,
            window=window,
            entries=entries,
            objects=self._objects[entries.samples],
            balance_window=balance_window,
        )
        return global_plan.of_rank(rank, world)

    @property
    def _objects(self) -> np.ndarray:
        """Number of objects of each image, int64 [N]."""
        shards = self.shard_set.index.shards
        return np.concatenate([np.array(shard.objects, dtype=np.int64) for shard in shards])

    def _sizes_of(self, entries: Entries, epoch: int, seed: int) -> tuple[np.ndarray, ...]:
        """Return the sizes of the entries of an epoch, which differ from `sizes` if transforms plan them."""
        planned = planned_transforms(self.transforms)
        if not planned or target_size(self.transforms):
            return tuple(of_rule[entries.samples] for of_rule in self.sizes)
        heights, widths = (sides[entries.samples] for sides in _original_sizes(self.shard_set))
        sizes = planned_sizes(planned, heights, widths, entry_number(*entries), seed=seed, epoch=epoch)
        return tuple(
            shrunk_to_fit(resized_sizes(rule, *sizes.T), shapes[-1])
            for rule, shapes in zip(self.rules, self.shapes, strict=True)
        )

    def plan_evaluation(self, *, batch_size: int, rank: int, world: int) -> Plan:
        """Plan one rank's batches for evaluation, with the first rule."""
        return plan_evaluation(self.sizes[0], self.shapes[0], batch_size=batch_size, rank=rank, world=world)


def pad_set(
    shard_set: ShardSet,
    rules: Sequence[ResizeRule],
    shapes: Sequence[Sequence[int]] | None = None,
    transforms: Sequence[Any] = (),
) -> PaddedSet:
    """Compute the resized sizes and padded shapes of a data set.

    Args:
        shard_set: data set.
        rules: resize rules.
        shapes: padded (height, width) for all rules, in pixels; by default `padded_shapes` of each rule.
            Images in their original size have one shape, that of the largest.
        transforms: transforms of training images; `ScaleJitter` decides sizes and shapes alone.

    Raises:
        InputError: an image fits into none of the given shapes, one of them is not a shape, or `ScaleJitter` leaves no
            choice of shapes.
    """
    heights, widths = _original_sizes(shard_set)
    if target := target_size(transforms):
        if shapes is not None:
            raise InputError("data.shapes has no effect, as ScaleJitter decides the padded shape; leave it out")
        fixed = np.broadcast_to(np.array(target, dtype=np.int64), (len(heights), 2))
        shape = sort_shapes([[round_up(edge) for edge in target]])
        return PaddedSet(shard_set, tuple(rules), (fixed,) * len(rules), (shape,) * len(rules), tuple(transforms))
    all_sizes, all_shapes = [], []
    for rule in rules:
        sizes = resized_sizes(rule, heights, widths)
        if isinstance(rule, OriginalSize):
            rule_shapes = sort_shapes([[round_up(edge) for edge in sizes.max(axis=0).tolist()]])
        else:
            rule_shapes = padded_shapes(rule) if shapes is None else sort_shapes(shapes)
        if len(misfits := np.flatnonzero(smallest_holding(sizes, rule_shapes) < 0)):
            height, width = sizes[misfits[0]].tolist()
            raise InputError(
                f"data.shapes: {len(misfits)} images of {shard_set.index.name} fit into none of them, for example "
                f"one of {height} x {width} (height x width); add a shape that holds it"
            )
        all_sizes.append(sizes)
        all_shapes.append(rule_shapes)
    return PaddedSet(shard_set, tuple(rules), tuple(all_sizes), tuple(all_shapes), tuple(transforms))


def _original_sizes(shard_set: ShardSet) -> tuple[np.ndarray, np.ndarray]:
    """Return the heights and widths of all images in pixels, int64 [N] each."""
    shards = shard_set.index.shards
    heights = np.concatenate([np.array(shard.heights, dtype=np.int64) for shard in shards])
    return heights, np.concatenate([np.array(shard.widths, dtype=np.int64) for shard in shards])
