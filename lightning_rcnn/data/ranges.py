"""Single samples of remote shards by byte ranges, where fetching whole shards would be a waste."""

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import fetch_range
from lightning_rcnn.data.index import Shard
from lightning_rcnn.data.reader import ShardFiles
from lightning_rcnn.data.stores.addresses import PIPE, is_remote
from lightning_rcnn.data.stores.transfer import NoRangesError, Span

FEW = 1 / 8
"""Share of a data set up to which its samples are read one by one.

Drawn at random, an eighth of the samples lies in all shards; read in order, a range costs no more than its shard.
"""


class ShardRanges:
    """Reads parts of shards where they are, unless they are local or in the cache already.

    What is read has no hash to be compared with, but each sample has its checksums: of the tar headers, and mostly in
    its image.

    Args:
        cache: shards that were fetched, and those that no part can be had of.
    """

    def __init__(self, cache: ShardCache) -> None:
        self._cache = cache
        self._undivided: set[str] = set()

    def read(self, address: str, shard: Shard, start: int, end: int) -> bytes:
        """Return the bytes of a shard from `start` to `end`; see `ShardCache.read`."""
        if is_remote(address) and not address.startswith(PIPE) and address not in self._undivided:
            if self._cache.holds(shard):
                return self._cache.read(address, shard, start, end)
            try:
                return fetch_range(address, Span(start, end), self._cache.policy)
            except NoRangesError:
                self._undivided.add(address)
        return self._cache.read(address, shard, start, end)


def shard_files(cache: ShardCache, num_wanted: float, num_images: int) -> ShardFiles:
    """Return what reads the bytes of samples: the cache of whole shards, or ranges if few samples are wanted.

    Args:
        cache: cache of whole shards.
        num_wanted: number of samples that all ranks want together.
        num_images: number of samples in the data set.
    """
    return ShardRanges(cache) if num_wanted <= FEW * num_images else cache
