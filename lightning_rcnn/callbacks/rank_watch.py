"""A training of several ranks ends when one of them does, and says which one it was."""

import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed import DistError, Store

from lightning_rcnn.errors import InputError, LostRankError
from lightning_rcnn.stop_signals import Preempted

BEAT = 1.0
"""Seconds between two signs of life."""
LAST_WORDS = 3.0
"""Seconds that a rank that ends leaves the others to read why."""
_VERDICT = "rank_watch/verdict"


class Sign(NamedTuple):
    """A sign of life.

    Attributes:
        beat: number of the sign.
        batches: that the rank has done, of training and validation.
        place: where in its code it is.
        host: name of its machine.
    """

    beat: int
    batches: int
    place: str
    host: str


class RankWatch(Callback):
    """Ends all ranks, with one line that says why, when one is killed, its node dies, it fails, or it hangs.

    A rank whose peer is gone waits for it: for ever in the worst case, else until the time limit of the process
    group, and then says nothing of whose fault it was. So each rank gives a sign of life every second, in a thread of
    its own and by way of the key-value store through which the ranks found each other, and rank 0 looks at all of them.

    Args:
        silence: seconds without a sign of life after which a rank counts as dead.
        patience: seconds without the end of a batch after which the ranks count as hanging; waiting for data, scoring
            and compiling count, so it is to be longer than any of these. The time limit of the process group
            (`trainer.strategy`) should be longer still.
    """

    def __init__(self, silence: float = 15.0, patience: float = 1800.0) -> None:
        super().__init__()
        if silence < 3 * BEAT or patience <= 0:
            raise InputError(f"rank_watch: silence {silence:g} has to be at least {3 * BEAT:g}, patience more than 0")
        self.silence, self.patience = silence, patience
        self._watcher: _Watcher | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin, where there are several ranks."""
        if trainer.world_size > 1 and torch.distributed.is_initialized():
            self._watcher = _Watcher(trainer, self.silence, self.patience)

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Count."""
        self._count()

    def on_validation_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Count."""
        self._count()

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End."""
        self._end_together(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell the others why this rank ends; or, if it ends because another one is gone, find out which.

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
            raise LostRankError(watcher.find_out(str(exception)))
        else:
            watcher.tell(f"rank {trainer.global_rank} ended: {_first_line(exception)}")

    def _end_together(self, trainer: Trainer) -> None:
        """End; no rank may leave, and take the store along, while another one still watches."""
        if self._watcher is not None:
            self._watcher.end()
            self._watcher = None
            trainer.strategy.barrier("end of rank watch")

    def _count(self) -> None:
        if self._watcher is not None:
            self._watcher.batches += 1


class _Watcher:
    """The thread of one rank.

    Attributes:
        batches: that this rank has done.
    """

    def __init__(self, trainer: Trainer, silence: float, patience: float) -> None:
        self.batches = 0
        self._rank, self._world = trainer.global_rank, trainer.world_size
        self._speaks_for_node = trainer.local_rank == 0 or self._rank == 1
        self._silence, self._patience = silence, patience
        self._store: Store = torch.distributed.distributed_c10d._get_default_store().clone()
        self._store.set_timeout(timedelta(seconds=silence))
        self._main_thread = threading.get_ident()
        self._beat = 0
        self._is_over = threading.Event()
        self._log = _SignLog(self._world)
        self._give_sign()
        trainer.strategy.barrier("rank watch")  # so that there is a sign of each
        self._thread = threading.Thread(target=self._run, daemon=True, name="rank watch")
        self._thread.start()

    def end(self) -> None:
        """Stop watching."""
        self._is_over.set()
        self._thread.join(self._silence)

    def tell(self, verdict: str) -> None:
        """Leave a verdict for the other ranks, and the time to read it: the store may go with this process."""
        self.end()
        try:
            self._store.compare_set(_VERDICT, "", verdict)
        except RuntimeError:  # the store is gone, and with it whoever could read
            return
        time.sleep(LAST_WORDS)

    def find_out(self, symptom: str) -> str:
        """Who is gone, after a collective operation failed; empty on ranks that leave it to another one to say."""
        self.end()
        deadline = time.monotonic() + self._silence
        try:
            while time.monotonic() < deadline:
                time.sleep(BEAT)
                self._give_sign()
                if verdict := self._verdict():
                    break
                self._log.take(self._signs())
                if gone := self._log.silent_for(4 * BEAT):
                    verdict = f"{self._named(gone)} {_is_are(gone)} gone: killed, out of memory, or its node is down"
                    self._store.compare_set(_VERDICT, "", verdict)
                    if len(gone) == self._world - 1:  # nobody is there to read it
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
                self._give_sign()
                verdict = self._verdict() or self._watch()
            except RuntimeError:
                verdict = "rank 0 is gone: its store does not answer" if self._speaks_for_node else ""
                if not self._is_over.is_set():
                    self._leave(verdict)
                return
            if verdict and not self._is_over.is_set():
                if self._rank == 0:
                    self._store.compare_set(_VERDICT, "", verdict)
                self._leave(verdict if self._rank == 0 else "")

    def _watch(self) -> str:
        """What rank 0 sees in the signs of all."""
        if self._rank != 0:
            return ""
        self._log.take(self._signs())
        if gone := self._log.silent_for(self._silence):
            return f"{self._named(gone)} {_gives(gone)} no sign of life for {self._silence:g} s"
        if self._log.seconds_without_batch() > self._patience:
            hanging, place = self._log.odd_ones_out()
            return f"no batch ended for {self._patience:g} s: {self._named(hanging)} {_is_are(hanging)} at {place}"
        return ""

    def _leave(self, verdict: str) -> None:
        """End this process, whatever its main thread is waiting for; after the others had time to read."""
        if verdict:
            print(f"lightning-rcnn: error: {verdict}", file=sys.stderr, flush=True)
        time.sleep(LAST_WORDS if self._rank == 0 else 0)
        os._exit(1)

    def _give_sign(self) -> None:
        self._beat += 1
        frame = sys._current_frames().get(self._main_thread)
        place = f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})" if frame else "its end"
        sign = Sign(self._beat, self.batches, place, socket.gethostname())
        self._store.set(f"rank_watch/{self._rank}", json.dumps(sign))

    def _signs(self) -> list[Sign]:
        keys = [f"rank_watch/{rank}" for rank in range(self._world)]
        return [Sign(*json.loads(value)) for value in self._store.multi_get(keys)]

    def _verdict(self) -> str:
        return self._store.get(_VERDICT).decode() if self._store.check([_VERDICT]) else ""

    def _named(self, ranks: list[int]) -> str:
        """For example "ranks 8, 9 (node2)"."""
        hosts = dict.fromkeys(self._log.last[rank].host for rank in ranks)
        return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))} ({', '.join(hosts)})"


class _SignLog:
    """When the signs of all ranks changed, by this process's clock: those of several machines differ.

    Attributes:
        last: the newest sign of each rank.
    """

    def __init__(self, world: int) -> None:
        self.last: dict[int, Sign] = {}
        self._heard: dict[int, float] = dict.fromkeys(range(world), time.monotonic())
        self._batch_ended = time.monotonic()

    def take(self, signs: list[Sign]) -> None:
        now = time.monotonic()
        for rank, sign in enumerate(signs):
            before = self.last.get(rank)
            if before is None or sign.beat != before.beat:
                self._heard[rank] = now
            if before is None or sign.batches != before.batches:
                self._batch_ended = now
            self.last[rank] = sign

    def silent_for(self, seconds: float) -> list[int]:
        now = time.monotonic()
        return [rank for rank, heard in self._heard.items() if now - heard > seconds]

    def seconds_without_batch(self) -> float:
        return time.monotonic() - self._batch_ended

    def odd_ones_out(self) -> tuple[list[int], str]:
        """The ranks at the place where the fewest are: the others wait for them; and that place."""
        return odd_ones_out({rank: sign.place for rank, sign in self.last.items()})


def odd_ones_out(places: Mapping[int, str]) -> tuple[list[int], str]:
    """The ranks at the place where the fewest are, and that place; those within torch's waiting do not count first."""
    counts = Counter(places.values())
    place = min(counts, key=lambda place: ("/torch/" in place, counts[place]))
    return [rank for rank, there in places.items() if there == place], place


def _lost_a_peer(exception: BaseException) -> bool:
    """Whether a collective operation failed. Gloo's errors are plain ones that name a file of its own."""
    return isinstance(exception, DistError) or (isinstance(exception, RuntimeError) and "gloo" in str(exception))


def _first_line(exception: BaseException) -> str:
    return next(iter(str(exception).splitlines()), "") or type(exception).__name__


def _is_are(ranks: list[int]) -> str:
    return "are" if len(ranks) > 1 else "is"


def _gives(ranks: list[int]) -> str:
    return "give" if len(ranks) > 1 else "gives"
