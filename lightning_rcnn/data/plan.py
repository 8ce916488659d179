"""Plan which rank reads which samples in which order: pure functions on integers, without files, processes or torch.

A training epoch is a list of *global batches* that depends only on the data set, the seed, the epoch and the global
batch size. Rank r of W takes the slots [r * B, (r + 1) * B) of each global batch, where B = G / W. The numbers of ranks
and workers do not affect the list, so a run may resume with other numbers: the global batches stay the same.

The *entries* of an epoch are its samples as often as they occur in it: each once, or as `epoch_counts.py` draws it. An
entry is a sample and the number of its occurrence, 0 for the first, by which a repeated sample looks different each
time. Several entries of a sample may share a batch. An epoch is planned in these steps:

1. Leave out E mod G random entries of this epoch, so that all ranks get equally many full batches.
2. Permute the shards and concatenate their entries, in random order within each shard. Cut the sequence into C equal
   *canonical partitions* and shuffle each within a window that moves along it. So one or two partitions read a shard,
   each within a short time. An epoch that is not larger than the window is one partition, shuffled as a whole.
3. Fill slot s of a global batch from partition s * C // G, with entries of one padded shape. Adjacent ranks read
   adjacent partitions, so each of many nodes reads mainly its own part of the shards (the idea of the canonical nodes
   in MosaicML's streaming data sets).
4. Put a partition's surplus entries of a shape into batches across partitions, and the rest of each shape into a few
   mixed batches, sorted by aspect ratio and padded to a shape that holds them all.
5. If asked to, exchange entries between nearby batches of a shape, so that those of a batch have about equally many
   objects (`balance.py`).

Shape letters: N samples, E entries of an epoch, S shards, K padded shapes, L batches, G samples of a global batch, B of
a rank's batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from lightning_rcnn.data.balance import even_out
from lightning_rcnn.data.padding import smallest_holding

EMPTY_SLOT = -1
"""Replaces a sample number where a batch is short."""
PLAN_VERSION = 1
"""Must increase when the same arguments give other batches: an older checkpoint then resumes at the next epoch."""
_OF_OCCURRENCE = 2**40  # above all sample numbers
_MAX_PARTITIONS = 64
_SHARDS_PER_PARTITION = 8


_Number = TypeVar("_Number", int, np.ndarray)


class Entries(NamedTuple):
    """The samples of an epoch, shard by shard.

    Attributes:
        samples: int64 [E], sample numbers in ascending order.
        occurrences: int64 [E], how often the sample is before.
    """

    samples: np.ndarray
    occurrences: np.ndarray


def epoch_entries(counts: np.ndarray) -> Entries:
    """Return the entries of an epoch with each sample as often as `counts` says, int64 [N]."""
    samples = np.repeat(np.arange(len(counts)), counts)
    return Entries(samples, _running_count(samples))


def entry_number(sample: _Number, occurrence: _Number) -> _Number:
    """Return the number by which an entry draws, or those of several; the first one of a sample has the sample's."""
    return sample + occurrence * _OF_OCCURRENCE


@dataclass(frozen=True)
class Plan:
    """Batches in order.

    Attributes:
        samples: int64 [L, B or G], sample numbers; `EMPTY_SLOT` where a batch is short.
        shapes: int64 [L, 2], padded (height, width) of each batch in pixels.
        scales: int64 [L], index of the resize rule of each batch.
        occurrences: int64 [L, B or G], how often the epoch has the sample before, in an order of its own; 0 in an empty
            slot.
    """

    samples: np.ndarray
    shapes: np.ndarray
    scales: np.ndarray
    occurrences: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)

    def of_rank(self, rank: int, world: int) -> "Plan":
        """Return the part of one of `world` ranks in a plan of global batches."""
        size = self.samples.shape[1] // world
        own = slice(rank * size, (rank + 1) * size)
        return Plan(self.samples[:, own], self.shapes, self.scales, self.occurrences[:, own])


def plan_training_epoch(
    shard_sizes: Sequence[int] | np.ndarray,
    sizes: Sequence[np.ndarray],
    shapes: Sequence[np.ndarray],
    *,
    global_batch_size: int,
    seed: int,
    epoch: int,
    window: int = 16384,
    entries: Entries | None = None,
    objects: np.ndarray | None = None,
    balance_window: int = 1,
) -> Plan:
    """Plan the global batches of one epoch.

    Args:
        shard_sizes: number of samples of each shard; samples are numbered shard by shard.
        sizes: for each resize rule, resized (height, width) of the entries, int64 [E, 2]. The first rule decides which
            entries share a batch; with several rules (multi-scale training) each batch draws one.
        shapes: for each resize rule, padded (height, width), int64 [K, 2], smallest area first; the last one holds
            every entry.
        global_batch_size: G, number of samples of all ranks together.
        seed, epoch: seeds of everything random.
        window: number of entries, over all partitions, within which the order is shuffled.
        entries: entries of this epoch; by default each sample once.
        objects: number of objects of the entries, int64 [E]; needed if `balance_window` is not 1.
        balance_window: number of batches of a padded shape among which entries are exchanged, so that those of a batch
            have about equally many objects; 1 exchanges none.

    Returns:
        floor(E / G) global batches; no entry occurs twice.
    """
    shard_of_sample = np.repeat(np.arange(len(shard_sizes)), shard_sizes)
    entries = entries or epoch_entries(np.ones_like(shard_of_sample))
    shard_entries = np.bincount(shard_of_sample[entries.samples], minlength=len(shard_sizes))
    order, partition, time = _shuffle(shard_entries, global_batch_size, seed, epoch, window)
    group = smallest_holding(sizes[0], shapes[0])[order]
    positions = _fill_batches(group, partition, time, shapes[0], global_batch_size)
    if balance_window > 1 and objects is not None:
        num_partitions = int(partition.max(initial=0)) + 1
        keys = random_keys(len(positions), seed, epoch, "balance")
        positions = even_out(
            positions, group, objects[order], num_partitions=num_partitions, window=balance_window, keys=keys
        )
    batches = order[positions]
    scales = (random_keys(len(batches), seed, epoch, "scale") % np.uint64(len(sizes))).astype(np.int64)
    batch_shapes = _batch_shapes(batches, scales, sizes, shapes)
    return Plan(entries.samples[batches], batch_shapes, scales, entries.occurrences[batches])


def plan_evaluation(sizes: np.ndarray, shapes: np.ndarray, *, batch_size: int, rank: int, world: int) -> Plan:
    """Plan one rank's batches for evaluation: over all ranks, every sample exactly once.

    Samples are sorted by shape and then by number, and dealt batch by batch, so that all ranks have about the same
    work. All ranks get equally many batches, filled up with empty slots: otherwise some would wait for the others.

    Args:
        sizes: resized (height, width), int64 [N, 2].
        shapes: padded (height, width), int64 [K, 2], smallest area first; the last one holds every sample.
        batch_size: B, number of samples of one rank's batch.
        rank, world: rank, and number of ranks.
    """
    group = smallest_holding(sizes, shapes)
    order = np.argsort(_aspect_ranks(shapes)[group], kind="stable")
    num_batches = -(-len(order) // (batch_size * world))
    slots = np.full(num_batches * batch_size * world, EMPTY_SLOT, dtype=np.int64)
    slots[: len(order)] = order
    samples = slots.reshape(num_batches, world, batch_size)[:, rank]
    scales = np.zeros(num_batches, dtype=np.int64)
    return Plan(samples, _batch_shapes(samples, scales, [sizes], [shapes]), scales, np.zeros_like(samples))


def _shuffle(
    shard_entries: np.ndarray, global_batch_size: int, seed: int, epoch: int, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the epoch's entries in order, the partition of each, and its position in the partition."""
    num_entries = int(shard_entries.sum())
    shard_rank = np.empty(len(shard_entries), dtype=np.int64)
    shard_rank[np.argsort(random_keys(len(shard_entries), seed, epoch, "shards"))] = np.arange(len(shard_entries))
    keys = random_keys(num_entries, seed, epoch, "samples")
    kept = np.sort(np.argsort(keys)[num_entries % global_batch_size :])
    shard_rank_of_entry = np.repeat(shard_rank, shard_entries)
    order = kept[np.lexsort((keys[kept], shard_rank_of_entry[kept]))]

    num_partitions = _num_partitions(len(shard_entries), global_batch_size) if num_entries > window else 1
    partition = np.arange(len(order)) * num_partitions // max(1, len(order))
    time = _running_count(partition)
    block = time // max(1, window // num_partitions)
    order = order[np.lexsort((random_keys(len(order), seed, epoch, "window"), block, partition))]
    return order, partition, time


def _num_partitions(num_shards: int, global_batch_size: int) -> int:
    """Return the largest number that divides the batch and leaves some shards to each partition.

    A small partition would run out of a shape too early.
    """
    limit = max(1, min(_MAX_PARTITIONS, num_shards // _SHARDS_PER_PARTITION))
    return max(number for number in range(1, limit + 1) if global_batch_size % number == 0)


def _fill_batches(
    group: np.ndarray, partition: np.ndarray, time: np.ndarray, shapes: np.ndarray, global_batch_size: int
) -> np.ndarray:
    """Return positions in the order, int64 [L, G]; batches are sorted by the time of their last sample."""
    num_partitions = int(partition.max(initial=0)) + 1
    share = global_batch_size // num_partitions
    cell = partition * len(shapes) + group
    number = _running_count(cell)
    cell_sizes = np.bincount(cell, minlength=num_partitions * len(shapes)).reshape(num_partitions, len(shapes))
    from_all = number // share < (cell_sizes // share).min(axis=0)[group]
    pure = np.flatnonzero(from_all)
    pure = pure[np.lexsort((number[pure], partition[pure], number[pure] // share, group[pure]))]

    rest = np.flatnonzero(~from_all)
    rest = rest[np.argsort(time[rest], kind="stable")]
    batches_across = np.bincount(group[rest], minlength=len(shapes)) // global_batch_size
    whole = _running_count(group[rest]) < batches_across[group[rest]] * global_batch_size
    across = rest[whole][np.lexsort((partition[rest[whole]], group[rest[whole]]))]
    # Sorting slot by slot makes the partitions fill the slots in their order here too.
    slot, batch = np.divmod(_running_count(group[across]), batches_across[group[across]])
    across = across[np.lexsort((slot, batch, group[across]))]
    mixed = rest[~whole][np.argsort(_aspect_ranks(shapes)[group[rest[~whole]]], kind="stable")]

    batches = np.concatenate([pure, across, mixed]).reshape(-1, global_batch_size)
    return batches[np.argsort(time[batches].max(axis=1, initial=0), kind="stable")]


def _batch_shapes(
    batches: np.ndarray, scales: np.ndarray, sizes: Sequence[np.ndarray], shapes: Sequence[np.ndarray]
) -> np.ndarray:
    """Return the smallest padded shape that holds each batch; an empty batch gets the smallest shape.

    Args:
        batches: int64 [L, B or G], positions in `sizes`; `EMPTY_SLOT` where a batch is short.
        scales, sizes, shapes: as in `plan_training_epoch`.
    """
    batch_shapes = np.empty((len(batches), 2), dtype=np.int64)
    for scale, (scale_sizes, scale_shapes) in enumerate(zip(sizes, shapes, strict=True)):
        has_scale = scales == scale
        rows = batches[has_scale]
        largest = np.where(rows[..., None] == EMPTY_SLOT, 0, scale_sizes[rows]).max(axis=1)
        batch_shapes[has_scale] = scale_shapes[smallest_holding(largest, scale_shapes)]
    return batch_shapes


def _aspect_ranks(shapes: np.ndarray) -> np.ndarray:
    """Return the rank of each shape from the tallest to the widest; mixing adjacent shapes needs the least padding."""
    ranks = np.empty(len(shapes), dtype=np.int64)
    ranks[np.argsort(shapes[:, 1] / shapes[:, 0], kind="stable")] = np.arange(len(shapes))
    return ranks


def _running_count(labels: np.ndarray) -> np.ndarray:
    """Return the number of equal labels before each label."""
    by_label = np.argsort(labels, kind="stable")
    starts = np.cumsum(np.bincount(labels)) - np.bincount(labels) if len(labels) else labels
    count = np.empty(len(labels), dtype=np.int64)
    count[by_label] = np.arange(len(labels)) - starts[labels[by_label]]
    return count


def random_keys(num: int, seed: int, epoch: int, purpose: str) -> np.ndarray:
    """Return random uint64 [num]; unlike `permutation`, PCG64's raw bits are the same in every version of numpy."""
    entropy = [seed, epoch, int.from_bytes(purpose.encode(), "little")]
    return np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(num)
