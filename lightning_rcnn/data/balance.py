"""Exchange images between nearby batches, so that the images of a step have about equally many objects.

All ranks of a step have one padded shape, so their pixels are equal; their objects are not, and every rank waits for
the one with most. To permute the images of a batch over the ranks gains little: of 128 images one has 50 objects, and
it stays. So images are exchanged between batches of one padded shape that follow each other: the crowded ones meet in
one of them, and the others are fast.

Each partition exchanges only its own images, so a rank reads the same shards as before.

Shape letters: L batches, G samples of a global batch, C partitions, P batches of a pool.
"""

import numpy as np


def even_out(
    batches: np.ndarray, group: np.ndarray, objects: np.ndarray, *, num_partitions: int, window: int, keys: np.ndarray
) -> np.ndarray:
    """Exchange images within pools of consecutive batches of one padded shape.

    Args:
        batches: entries of the batches, int64 [L, G]; each partition has G / C neighboring slots.
        group: padded shape of each entry, int64. Batches of several shapes stay as they are.
        objects: number of objects of each entry, int64.
        num_partitions: C.
        window: number of batches of a pool; the last pool of a shape may have fewer.
        keys: random numbers by which the batches of a pool are put in order, uint64 [L].

    Returns:
        int64 [L, G] with the same entries; a batch has the padded shape that it had.
    """
    batches = batches.copy()
    groups = group[batches]
    is_pure = (groups == groups[:, :1]).all(axis=1)
    for shape in np.unique(groups[is_pure, 0]):
        rows = np.flatnonzero(is_pure & (groups[:, 0] == shape))
        for first in range(0, len(rows), window):
            pool = rows[first : first + window]
            evened = _by_objects(batches[pool], objects, num_partitions)
            batches[pool[np.argsort(keys[pool], kind="stable")]] = evened
    return batches


def _by_objects(pool: np.ndarray, objects: np.ndarray, num_partitions: int) -> np.ndarray:
    """Sort the entries of a pool, int64 [P, G], by objects within each partition; batch 0 gets those with fewest."""
    num_batches, size = pool.shape
    share = size // num_partitions
    of_partition = pool.reshape(num_batches, num_partitions, share).swapaxes(0, 1).reshape(num_partitions, -1)
    order = np.argsort(objects[of_partition], axis=1, kind="stable")
    of_batch = np.take_along_axis(of_partition, order, axis=1).reshape(num_partitions, num_batches, share)
    return of_batch[:, :, _outside_in(share)].swapaxes(0, 1).reshape(num_batches, size)


def _outside_in(num: int) -> np.ndarray:
    """Return 0, num - 1, 1, num - 2, ...: of sorted images, neighbors on a rank are a light one and a heavy one."""
    order = np.empty(num, dtype=np.int64)
    order[0::2], order[1::2] = np.arange(-(-num // 2)), np.arange(num - 1, -(-num // 2) - 1, -1)
    return order
