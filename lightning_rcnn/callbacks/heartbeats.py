"""Heartbeats of ranks: what one says, when each was heard last, and through which store."""

import os
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from torch.distributed import TCPStore

from lightning_rcnn.distributed import share_from_rank_zero


class Heartbeat(NamedTuple):
    """A heartbeat of one rank.

    Attributes:
        beat: number of the heartbeat.
        batches: number of batches done, training and validation together.
        position: file, line and function of its main thread.
        host: name of its machine.
    """

    beat: int
    batches: int
    position: str
    host: str


def open_store(rank: int, timeout: float) -> TCPStore:
    """Open a key-value store that lives in the process of rank 0; call this on all ranks.

    That through which the ranks met is not taken: torchrun's lives in its agent on the first node, and when this is
    killed, its ranks are told to save and end, and the others should follow them.

    Args:
        rank: rank of this process.
        timeout: seconds to wait for rank 0.
    """
    host, patience = os.environ["MASTER_ADDR"], timedelta(seconds=timeout)
    store = TCPStore(host, 0, is_master=True, timeout=patience, wait_for_workers=False) if rank == 0 else None
    port = share_from_rank_zero(None if store is None else store.port)
    return store or TCPStore(host, port, is_master=False, timeout=patience, wait_for_workers=False)


class HeartbeatLog:
    """When the heartbeats of all ranks changed, by this process's clock: the clocks of machines differ.

    While a job is suspended, its clock runs on, and nobody writes. So of the time between two calls of `take` no more
    counts than `longest`: a process that did not look cannot say that others were silent.

    Args:
        world: number of ranks.
        longest: seconds between two looks that count at most.

    Attributes:
        last: newest heartbeat of each rank.
    """

    def __init__(self, world: int, longest: float) -> None:
        self.last: dict[int, Heartbeat] = {}
        self._longest = longest
        self._looked, self._watched = time.monotonic(), 0.0
        self._heard = dict.fromkeys(range(world), self._watched)
        self._batch_ended = self._watched

    def take(self, heartbeats: list[Heartbeat]) -> None:
        """Note the newest heartbeat of each rank."""
        before, self._looked = self._looked, time.monotonic()
        self._watched += min(self._looked - before, self._longest)
        for rank, heartbeat in enumerate(heartbeats):
            known = self.last.get(rank)
            if known is None or heartbeat.beat != known.beat:
                self._heard[rank] = self._watched
            if known is None or heartbeat.batches != known.batches:
                self._batch_ended = self._watched
            self.last[rank] = heartbeat

    def without_heartbeat_for(self, seconds: float) -> list[int]:
        """Return the ranks whose heartbeat has not changed for so long."""
        return [rank for rank, heard in self._heard.items() if self._watched - heard > seconds]

    def seconds_without_batch(self) -> float:
        """Return how long no rank has done a batch."""
        return self._watched - self._batch_ended

    def odd_ones_out(self) -> tuple[list[int], str]:
        """Return the ranks at the position with the fewest ranks, for which the others wait, and that position."""
        return odd_ones_out({rank: heartbeat.position for rank, heartbeat in self.last.items()})


def odd_ones_out(positions: Mapping[int, str]) -> tuple[list[int], str]:
    """Return the ranks at the position with the fewest ranks, and that position; positions inside torch come last."""
    counts = Counter(positions.values())
    position = min(counts, key=lambda position: ("/torch/" in position, counts[position]))
    return [rank for rank, own in positions.items() if own == position], position
