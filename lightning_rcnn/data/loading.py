"""Settings of data loading."""

from dataclasses import dataclass
from typing import Literal

from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Fraction, NonNegative, Positive, PositiveCount


@dataclass(frozen=True)
class LoadingSettings(Settings):
    """Settings of the order and of the workers.

    Args:
        shuffle_window: number of images within which the order is shuffled; beyond it, only the shards are shuffled.
            A data set that is not larger is shuffled as a whole.
        balance_window: number of batches of a padded shape among which images are exchanged, so that all ranks of a
            step have about equally many objects; 1 exchanges none. Crowded images then meet in a batch.
        max_corrupt_share: share of an epoch's images, 0 to 1, that may be unreadable before the run stops; up to this
            share they are left out and named. Damaged images that still decode are used and named, and do not count.
        multiprocessing_context: start method of the workers; by default Python's default on this platform.
    """

    shuffle_window: PositiveCount = 16384
    balance_window: PositiveCount = 1
    max_corrupt_share: Fraction = 0.01
    multiprocessing_context: Literal["fork", "spawn", "forkserver"] | None = None


@dataclass(frozen=True)
class FetchingSettings(Settings):
    """Settings of shards that are fetched over the network.

    Args:
        cache_dir: folder on each node for fetched shards; by default in the user's cache folder.
        cache_limit_gb: size of that folder in GB above which the least recently used shards are removed.
        timeout: seconds without a byte after which an attempt to fetch a shard fails.
        attempts: number of attempts to fetch a shard before the run stops.
    """

    cache_dir: str | None = None
    cache_limit_gb: NonNegative = 100.0
    timeout: Positive = 30.0
    attempts: PositiveCount = 5
