"""End a training of several ranks when one of them dies or hangs, and name that rank."""

import json
import os
import socket
import sys
import threading
import time
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed import DistError

from lightning_rcnn.callbacks.heartbeats import Heartbeat, HeartbeatLog, open_store
from lightning_rcnn.callbacks.wandb_alerts import alert, last_alert
from lightning_rcnn.errors import InputError, LostRankError
from lightning_rcnn.stop_signals import Preempted

BEAT = 1.0
"""Seconds between two heartbeats."""
LAST_WORDS = 3.0
"""Seconds that a rank waits before it ends, so that the others can read why."""
LOST = "ranks lost"
"""Title of the alert."""
_VERDICT = "rank_watch/verdict"


class RankWatch(Callback):
    """Ends all ranks, with one line that says why, when one is killed, its node dies, it fails, or it hangs.

    A rank whose peer is gone waits for it, at worst endlessly, at best until the time limit of the process group,
    which does not name the rank. So a thread of each rank writes a heartbeat every second to a key-value store in the
    process of rank 0, which reads all of them.

    Args:
        heartbeat_timeout: seconds without a heartbeat after which a rank counts as dead.
        stall_timeout: seconds without the end of a batch after which the ranks count as hanging. Waiting for data,
            scoring and compiling count: choose more than any of these takes. The time limit of the process group
            (`trainer.strategy`) should be longer still.

    Raises:
        InputError: a timeout is too short.
    """

    def __init__(self, heartbeat_timeout: float = 15.0, stall_timeout: float = 1800.0) -> None:
        super().__init__()
        if heartbeat_timeout < 3 * BEAT or stall_timeout <= 0:
            raise InputError(
                f"rank_watch: heartbeat_timeout {heartbeat_timeout:g} has to be at least {3 * BEAT:g} seconds, "
                f"stall_timeout {stall_timeout:g} more than 0"
            )
        self.heartbeat_timeout, self.stall_timeout = heartbeat_timeout, stall_timeout
        self._watcher: _Watcher | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the watcher if there are several ranks."""
        if trainer.world_size > 1 and torch.distributed.is_initialized():
            self._watcher = _Watcher(trainer, self.heartbeat_timeout, self.stall_timeout)

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Count a batch as done."""
        if self._watcher is not None:
            self._watcher.batches += 1

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = on_train_batch_end

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop the watcher, on all ranks together."""
        self._end_together(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell the other ranks why this one ends; if a lost peer ends it, find out which rank that is.

        Raises:
            LostRankError: another rank is gone.
        """
        if isinstance(exception, Preempted):  # on all ranks
            self._end_together(trainer)
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        if isinstance(exception, KeyboardInterrupt):
            watcher.end()
        elif _lost_a_peer(exception):
            verdict = watcher.find_out(str(exception))
            if verdict:
                alert(trainer, LOST, verdict)
            raise LostRankError(verdict)
        else:
            watcher.tell(f"rank {trainer.global_rank} ended: {_first_line(exception)}")

    def _end_together(self, trainer: Trainer) -> None:
        """Stop the watcher; wait for the other ranks, which still read the store that this process may hold."""
        if self._watcher is not None:
            self._watcher.end()
            self._watcher = None
            trainer.strategy.barrier("end of rank watch")


class _Watcher:
    """The watching thread of one rank.

    Attributes:
        batches: number of batches that this rank has done.
    """

    def __init__(self, trainer: Trainer, heartbeat_timeout: float, stall_timeout: float) -> None:
        self.batches = 0
        self._last_alert = partial(last_alert, trainer, LOST)
        self._rank, self._world = trainer.global_rank, trainer.world_size
        self._speaks_for_node = trainer.local_rank == 0 or self._rank == 1
        self._heartbeat_timeout, self._stall_timeout = heartbeat_timeout, stall_timeout
        self._store = open_store(self._rank, heartbeat_timeout)
        self._main_thread = threading.get_ident()
        self._beat = 0
        self._is_over = threading.Event()
        self._log = HeartbeatLog(self._world, 2 * BEAT)
        self._write_heartbeat()
        trainer.strategy.barrier("rank watch")  # so that every rank has a heartbeat
        self._rounds = 0
        self._thread = threading.Thread(target=self._run, daemon=True, name="rank watch")
        self._thread.start()
        threading.Thread(target=self._watch_rounds, daemon=True, name="watch of the rank watch").start()

    def end(self) -> None:
        """Stop watching."""
        self._is_over.set()
        self._thread.join(self._heartbeat_timeout)

    def tell(self, verdict: str) -> None:
        """Write a verdict for the other ranks, and wait until they have read it: this process may hold the store."""
        self.end()
        try:
            self._store.compare_set(_VERDICT, "", verdict)
        except RuntimeError:  # the store is gone, and with it every reader
            return
        time.sleep(LAST_WORDS)

    def find_out(self, symptom: str) -> str:
        """Return which ranks are gone after a collective operation failed; empty if another rank reports it."""
        self.end()
        deadline = time.monotonic() + self._heartbeat_timeout
        try:
            while time.monotonic() < deadline:
                time.sleep(BEAT)
                self._write_heartbeat()
                if verdict := self._verdict():
                    break
                self._log.take(self._heartbeats())
                if gone := self._log.without_heartbeat_for(4 * BEAT):
                    verdict = f"{self._named(gone)} {_is_are(gone)} gone: killed, out of memory, or its node is down"
                    self._store.compare_set(_VERDICT, "", verdict)
                    if len(gone) == self._world - 1:  # no rank is left to read it
                        return verdict
                    break
            else:
                verdict = f"the connection between ranks broke, but all of them live: {symptom.splitlines()[0]}"
        except RuntimeError:
            return "rank 0 is gone: its store does not answer" if self._speaks_for_node else ""
        if self._rank != 0:
            return ""
        time.sleep(LAST_WORDS)
        return verdict

    def _run(self) -> None:
        while not self._is_over.wait(BEAT):
            try:
                self._write_heartbeat()
                verdict = self._verdict() or self._watch()
            except RuntimeError:
                verdict = "rank 0 is gone: its store does not answer" if self._speaks_for_node else ""
                if not self._is_over.is_set():
                    self._leave(verdict)
                return
            self._rounds += 1
            if verdict and not self._is_over.is_set():
                if self._rank == 0:
                    self._store.compare_set(_VERDICT, "", verdict)
                self._leave(verdict if self._rank == 0 else "")

    def _watch_rounds(self) -> None:
        """End this process when the store does not answer: of a machine that froze, connections stay open for hours.

        It counts its own beats, which stand still, too, while this process is suspended.
        """
        beats, rounds = 0, 0
        while not self._is_over.wait(BEAT):
            beats, rounds = (beats + 1, rounds) if rounds == self._rounds else (0, self._rounds)
            if beats * BEAT > self._heartbeat_timeout:
                who = f"rank 0 gives no sign of life for {self._heartbeat_timeout:g} s"
                self._leave(who if self._speaks_for_node else "")

    def _watch(self) -> str:
        """Return what is wrong by the heartbeats of all ranks; rank 0 alone looks at them."""
        if self._rank != 0:
            return ""
        self._log.take(self._heartbeats())
        if gone := self._log.without_heartbeat_for(self._heartbeat_timeout):
            return f"{self._named(gone)} {_gives(gone)} no sign of life for {self._heartbeat_timeout:g} s"
        if self._log.seconds_without_batch() > self._stall_timeout:
            hanging, position = self._log.odd_ones_out()
            return (
                f"no batch ended for {self._stall_timeout:g} s: {self._named(hanging)} {_is_are(hanging)} at {position}"
            )
        return ""

    def _leave(self, verdict: str) -> None:
        """End this process whatever its main thread waits for; rank 0 gives the others time to read first."""
        self._is_over.set()
        if verdict:
            print(f"lightning-rcnn: error: {verdict}", file=sys.stderr, flush=True)
            self._last_alert(verdict)
        time.sleep(LAST_WORDS if self._rank == 0 else 0)
        os._exit(1)

    def _write_heartbeat(self) -> None:
        self._beat += 1
        frame = sys._current_frames().get(self._main_thread)
        position = f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})" if frame else "its end"
        heartbeat = Heartbeat(self._beat, self.batches, position, socket.gethostname())
        self._store.set(f"rank_watch/{self._rank}", json.dumps(heartbeat))

    def _heartbeats(self) -> list[Heartbeat]:
        keys = [f"rank_watch/{rank}" for rank in range(self._world)]
        return [Heartbeat(*json.loads(value)) for value in self._store.multi_get(keys)]

    def _verdict(self) -> str:
        return self._store.get(_VERDICT).decode() if self._store.check([_VERDICT]) else ""

    def _named(self, ranks: list[int]) -> str:
        """Return text such as "ranks 8, 9 (node2)"."""
        hosts = dict.fromkeys(self._log.last[rank].host for rank in ranks)
        return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))} ({', '.join(hosts)})"


def _lost_a_peer(exception: BaseException) -> bool:
    """Tell whether a collective operation failed. Gloo raises a plain RuntimeError that names one of its files."""
    return isinstance(exception, DistError) or (isinstance(exception, RuntimeError) and "gloo" in str(exception))


def _first_line(exception: BaseException) -> str:
    return next(iter(str(exception).splitlines()), "") or type(exception).__name__


def _is_are(ranks: list[int]) -> str:
    return "are" if len(ranks) > 1 else "is"


def _gives(ranks: list[int]) -> str:
    return "give" if len(ranks) > 1 else "gives"
