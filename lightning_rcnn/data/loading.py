"""Settings of how data are loaded, apart from what is loaded."""

from dataclasses import dataclass
from typing import Literal

from lightning_rcnn.parts import Settings
from lightning_rcnn.settings_checks import Fraction, NonNegative, Positive, PositiveCount


@dataclass(frozen=True)
class LoadingSettings(Settings):
    """Settings of the order and of the workers.

    Args:
        shuffle_window: images within which the order is shuffled; more remote ones are mixed by shards. Sets that are
            not larger are shuffled as a whole.
        max_corrupt_share: share of unreadable images of an epoch beyond which the run stops; below, they are left out
            and named.
        multiprocessing_context: how workers start; by default as Python has it on this platform.
    """

    shuffle_window: PositiveCount = 16384
    max_corrupt_share: Fraction = 0.01
    multiprocessing_context: Literal["fork", "spawn", "forkserver"] | None = None


@dataclass(frozen=True)
class FetchingSettings(Settings):
    """Settings of shards that come over the network.

    Args:
        cache_dir: folder on each node for them; by default in the user's cache folder.
        cache_limit_gb: size of that folder beyond which the shards unused for longest are removed.
        timeout: seconds without a byte after which an attempt to fetch a shard is given up.
        attempts: attempts to fetch a shard before the run stops.
    """

    cache_dir: str | None = None
    cache_limit_gb: NonNegative = 100.0
    timeout: Positive = 30.0
    attempts: PositiveCount = 5
