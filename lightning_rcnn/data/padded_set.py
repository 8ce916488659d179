"""A data set with its resize rules: the sizes and padded shapes from which the planner works."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_rcnn.data.padding import padded_shapes, resized_sizes, smallest_holding, sort_shapes
from lightning_rcnn.data.plan import Plan, plan_evaluation, plan_training_epoch
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import ShardSet
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
    """

    shard_set: ShardSet
    rules: tuple[ResizeRule, ...]
    sizes: tuple[np.ndarray, ...]
    shapes: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.shard_set.index)

    @property
    def padding(self) -> str:
        """Hash of sizes and shapes, which determine the images that can share a batch."""
        digest = hashlib.sha256()
        for array in (*self.sizes, *self.shapes):
            digest.update(repr(array.shape).encode() + array.tobytes())
        return digest.hexdigest()

    def plan_training(self, epoch: int, *, seed: int, batch_size: int, rank: int, world: int, window: int) -> Plan:
        """Plan one rank's batches of a training epoch."""
        shard_sizes = [len(shard) for shard in self.shard_set.index.shards]
        global_plan = plan_training_epoch(
            shard_sizes,
            self.sizes,
            self.shapes,
            global_batch_size=batch_size * world,
            seed=seed,
            epoch=epoch,
            window=window,
        )
        return global_plan.of_rank(rank, world)

    def plan_evaluation(self, *, batch_size: int, rank: int, world: int) -> Plan:
        """Plan one rank's batches for evaluation, with the first rule."""
        return plan_evaluation(self.sizes[0], self.shapes[0], batch_size=batch_size, rank=rank, world=world)


def pad_set(
    shard_set: ShardSet, rules: Sequence[ResizeRule], shapes: Sequence[Sequence[int]] | None = None
) -> PaddedSet:
    """Compute the resized sizes and padded shapes of a data set.

    Args:
        shard_set: data set.
        rules: resize rules.
        shapes: padded (height, width) for all rules, in pixels; by default `padded_shapes` of each rule.

    Raises:
        InputError: an image fits into none of the given shapes, or one of them is not a shape.
    """
    shards = shard_set.index.shards
    heights = np.concatenate([np.array(shard.heights, dtype=np.int64) for shard in shards])
    widths = np.concatenate([np.array(shard.widths, dtype=np.int64) for shard in shards])
    all_sizes, all_shapes = [], []
    for rule in rules:
        sizes = resized_sizes(rule, heights, widths)
        rule_shapes = padded_shapes(rule) if shapes is None else sort_shapes(shapes)
        if len(misfits := np.flatnonzero(smallest_holding(sizes, rule_shapes) < 0)):
            height, width = sizes[misfits[0]].tolist()
            raise InputError(
                f"data.shapes: {len(misfits)} images of {shard_set.index.name} fit into none of them, for example "
                f"one of {height} x {width} (height x width); add a shape that holds it"
            )
        all_sizes.append(sizes)
        all_shapes.append(rule_shapes)
    return PaddedSet(shard_set, tuple(rules), tuple(all_sizes), tuple(all_shapes))
