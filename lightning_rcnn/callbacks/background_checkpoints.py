"""Checkpoints that a thread writes while the training continues."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lightning_rcnn.callbacks.checkpoint_io import AtomicCheckpointIO
from lightning_rcnn.checkpoints.split import change_by_keys

_COPIES = 2
"""Checkpoints that may wait for the disk: `best.ckpt` and `last.ckpt` are written right after each other."""


class BackgroundCheckpointIO(AtomicCheckpointIO):
    """Copies a checkpoint to memory, and writes it in a thread; otherwise as its base.

    A step waits for the copy, and for the disk only if two checkpoints are not written yet. The copies stay allocated,
    in page-locked memory if the weights are on a GPU: new memory for each would cost more time than the copying.

    After a trainer's work (`teardown`) it writes at once, because nobody would wait for the thread, until `begin`.

    Lightning's `AsyncCheckpointIO` copies on the device, keeps any number of copies, reports an error at the next
    checkpoint, and cannot be waited for.
    """

    def __init__(self, after_save: Callable[[Path], None] | None = None) -> None:
        super().__init__(after_save)
        self._executor: ThreadPoolExecutor | None = None  # made at first use: a trainer may be pickled before
        self._has_ended = False
        self._pending: deque[Future[Any]] = deque()
        self._calls: list[Callable[[], None]] = []
        self._copies = deque(_Copy() for _ in range(_COPIES))

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Copy `checkpoint`, and begin to write it; write it at once after `teardown`.

        Raises:
            InputError: an earlier one could not be written; the file that was there before it is untouched.
        """
        if self._has_ended:
            super().save_checkpoint(checkpoint, path)
            return
        while len(self._pending) >= _COPIES:
            self._finish_first()
        copy = self._copies[0]  # the one that was written longest ago
        self._copies.rotate(-1)
        self.submit(partial(super().save_checkpoint, copy.take(checkpoint), path))

    def submit(self, job: Callable[[], Any]) -> None:
        """Run something in the thread, after all that it has to do already; an error is raised by `check`.

        After `teardown` it runs at once, and its error is raised here.
        """
        if self._has_ended:
            job()
            return
        if self._executor is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending.append(self._executor.submit(job))

    def begin(self) -> None:
        """Write in the background again, if a `teardown` was before."""
        self._has_ended = False

    def when_written(self, call: Callable[[], None]) -> None:
        """Call something in this thread when all checkpoints so far are on the disk, and never if one fails."""
        self._calls.append(call)
        self.check()

    def check(self) -> None:
        """Take note of what is written by now, without waiting.

        Raises:
            InputError: it could not be written.
        """
        while self._pending and self._pending[0].done():
            self._finish_first()
        if not self._pending:
            self._call()

    def wait(self) -> None:
        """Wait for the disk.

        Raises:
            InputError: a checkpoint could not be written.
        """
        while self._pending:
            self._finish_first()
        self._call()

    def failures(self) -> list[Exception]:
        """Wait for the disk, and return all errors instead of raising the first."""
        failures: list[Exception] = []
        while True:
            try:
                self.wait()
            except Exception as failure:
                failures.append(failure)
            else:
                return failures

    def teardown(self) -> None:
        """Wait for the disk at the end of a trainer's work.

        Raises:
            InputError: a checkpoint could not be written; others are warned of.
        """
        failures = self.failures()
        self._has_ended = True
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
        for other in failures[1:]:
            rank_zero_warn(str(other))
        if failures:
            raise failures[0]

    def _finish_first(self) -> None:
        try:
            self._pending.popleft().result()
        except Exception:
            self._calls.clear()  # they would name a file that does not exist
            raise

    def _call(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()


class _Copy:
    """Memory for one checkpoint, which is used again for the next one."""

    def __init__(self) -> None:
        self._memory: dict[tuple[Any, ...], Tensor] = {}

    def take(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of a checkpoint, on the host; it is valid until the next call."""
        copied = change_by_keys(checkpoint, self._copy)
        if any(tensor.is_pinned() for tensor in self._memory.values()):
            torch.cuda.synchronize()
        return copied

    def _copy(self, keys: tuple[Any, ...], tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        memory = self._memory.get(keys)
        if memory is None or memory.shape != tensor.shape or memory.dtype != tensor.dtype:
            memory = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._memory[keys] = memory
        # `take` waits for copies from a GPU to page-locked memory only.
        return memory.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
