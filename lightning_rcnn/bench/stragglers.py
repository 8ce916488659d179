"""How long ranks wait for each other because their images differ: the planner's batches, with a cost for each.

All ranks of a step wait for the slowest. A rank's step costs its padded pixels and its objects.

Shape letters: L steps of an epoch, W ranks, B images of a rank's batch.
"""

from typing import NamedTuple

import numpy as np

from lightning_rcnn.bench.coco_like import CocoLike
from lightning_rcnn.data.padding import padded_shapes, resized_sizes, smallest_holding
from lightning_rcnn.data.plan import plan_training_epoch, random_keys
from lightning_rcnn.data.resize import ResizeRule

RULE = ResizeRule(800, 1333)


class Waiting(NamedTuple):
    """What waiting costs, over an epoch.

    Attributes:
        share: share of all ranks' time in which they wait for the slowest rank of the step.
        share_of_objects: the same if a step cost nothing but its objects.
        pixels: padded pixels of an image, on average.
        shards: number of shards that a node reads, on average.
    """

    share: float
    share_of_objects: float
    pixels: float
    shards: float


def waiting_with_plan(
    images: CocoLike, ranks: int, batch_size: int, balance_window: int, object_cost: float, ranks_per_node: int = 8
) -> Waiting:
    """Simulate an epoch of the planner, whose ranks share the padded shape of a step.

    Args:
        images: data set.
        ranks: W.
        batch_size: B.
        balance_window: see `LoadingSettings`.
        object_cost: time of an object, as a share of the time of an image of average padded pixels.
        ranks_per_node: number of neighboring ranks that share what they read.
    """
    sizes, shapes = resized_sizes(RULE, images.heights, images.widths), padded_shapes(RULE)
    plan = plan_training_epoch(
        images.shard_sizes,
        [sizes],
        [shapes],
        global_batch_size=ranks * batch_size,
        seed=0,
        epoch=0,
        objects=images.objects,
        balance_window=balance_window,
    )
    shard_of_sample = np.repeat(np.arange(len(images.shard_sizes)), images.shard_sizes)
    nodes = np.array_split(shard_of_sample[plan.samples], max(1, ranks // ranks_per_node), axis=1)
    pixels = np.repeat(plan.shapes.prod(axis=1)[:, None], ranks, axis=1)
    objects = images.objects[plan.samples].reshape(len(plan), ranks, batch_size).sum(axis=2)
    shards = float(np.mean([len(np.unique(node)) for node in nodes]))
    return _waiting(pixels, objects, batch_size, object_cost)._replace(shards=shards)


def waiting_without_plan(images: CocoLike, ranks: int, batch_size: int, object_cost: float) -> Waiting:
    """Simulate random batches, each padded by its own rank, as a `DistributedSampler` makes them; see above."""
    sizes, shapes = resized_sizes(RULE, images.heights, images.widths), padded_shapes(RULE)
    num_steps = len(sizes) // (ranks * batch_size)
    order = np.argsort(random_keys(len(sizes), 0, 0, "without plan"))[: num_steps * ranks * batch_size]
    batches = order.reshape(num_steps * ranks, batch_size)
    shape = shapes[smallest_holding(sizes[batches].max(axis=1), shapes)]
    pixels = shape.prod(axis=1).reshape(num_steps, ranks)
    objects = images.objects[batches].sum(axis=1).reshape(num_steps, ranks)
    return _waiting(pixels, objects, batch_size, object_cost)._replace(shards=float(len(images.shard_sizes)))


def _waiting(pixels: np.ndarray, objects: np.ndarray, batch_size: int, object_cost: float) -> Waiting:
    """Sum up padded pixels of an image and objects of a batch, [L, W] each."""
    cost = batch_size * pixels / pixels.mean() + object_cost * objects
    return Waiting(_idle_share(cost), _idle_share(objects), float(pixels.mean()), 0.0)


def _idle_share(cost: np.ndarray) -> float:
    return float(1 - cost.mean(axis=1).sum() / cost.max(axis=1).sum())
