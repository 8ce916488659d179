"""The images of a training: their sizes and shapes, and how often an epoch has each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.data.epoch_counts import EpochCounts
from lightning_rcnn.data.epoch_summary import epoch_summary
from lightning_rcnn.data.image_classes import image_classes
from lightning_rcnn.data.padded_set import PaddedSet, pad_set
from lightning_rcnn.data.plan import Plan
from lightning_rcnn.data.processes import Processes
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.resume import PlanIdentity
from lightning_rcnn.data.sampling import Sampling
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.data.sources import source_names
from lightning_rcnn.data.transforms.pipeline import min_sizes
from lightning_rcnn.errors import InputError


@dataclass(frozen=True)
class TrainingSet:
    """The training images.

    Attributes:
        data: shards under the resize rules.
        counts: how often an epoch has each image.
    """

    data: PaddedSet
    counts: EpochCounts

    def plan(
        self, epoch: int, *, seed: int, batch_size: int, processes: Processes, window: int, balance_window: int
    ) -> Plan:
        """Plan this rank's batches of an epoch; see `PaddedSet.plan_training`."""
        return self.data.plan_training(
            epoch,
            seed=seed,
            batch_size=batch_size,
            rank=processes.rank,
            world=processes.world,
            window=window,
            balance_window=balance_window,
            counts=self.counts,
        )

    def identity(
        self, *, seed: int, global_batch_size: int, window: int, balance_window: int, sampling: Sampling
    ) -> PlanIdentity:
        """Return what determines the batches of the plan."""
        return PlanIdentity(
            data=self.data.shard_set.index.fingerprint,
            padding=self.data.padding,
            seed=seed,
            window=window,
            balance=self.data.balance(balance_window),
            global_batch_size=global_batch_size,
            sampling=str(sampling),
            counts=self.counts.fingerprint,
        )


def sampled_set(
    shard_set: ShardSet,
    source: Any,
    sampling: Sampling,
    rule: ResizeRule,
    shapes: Sequence[Sequence[int]] | None,
    transforms: Sequence[Any],
    batch_size: int,
    world: int,
) -> TrainingSet:
    """Return the training images, and log what an epoch has of them.

    Args:
        shard_set: training data.
        source: source of the data, for messages.
        sampling: which images an epoch has, and how often.
        rule: resize rule; multi-scale training varies its shorter edge.
        shapes: padded shapes; see `pad_set`.
        transforms: transforms of training images.
        batch_size: images per device in a step.
        world: number of devices.

    Raises:
        InputError: the images do not fit the shapes, or are fewer than a batch.
    """
    rules = [replace(rule, min_size=edge) for edge in min_sizes(transforms) or [rule.min_size]]
    data = pad_set(shard_set, rules, shapes, transforms)
    images = image_classes(shard_set.index, shard_set.shard_sources, source_names(source))
    counts = sampling.counts(images)
    if counts.size < batch_size * world:
        raise InputError(
            f"data.train: {counts.size} images are fewer than one batch of all devices "
            f"({world} x {batch_size}); lower data.batch_size"
        )
    rank_zero_info(epoch_summary(sampling, counts, images, batch_size * world))
    return TrainingSet(data, counts)


def same_in_every_epoch(plan: Callable[[int], Plan]) -> Callable[[int], Plan]:
    """Return a plan whose every epoch is the first one."""
    first_epoch = plan(0)
    return lambda epoch: first_epoch
