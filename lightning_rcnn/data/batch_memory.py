"""Hand batches over from workers to the main process, in shared memory that is used again.

The system provides shared memory page by page when it is first written. With fresh memory for each batch, as torch's
workers take it, that costs a worker up to as much as decoding the images. So each worker has buffers for images: it
fills one that is free, and the main process frees it when no tensor uses it any longer. A buffer takes no memory before
it is first filled. If none is free, a batch gets memory of its own. The other tensors of a batch are small: they travel
as bytes, which costs less than a piece of shared memory for each; those that are not get memory of their own, too.
"""

import logging
import mmap
import os
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from lightning_rcnn.data.shared_bytes import PipedBytes, SharedBytes, shared_or_piped

logger = logging.getLogger(__name__)

BUFFERS = 5
"""Buffers of a worker: torch requests two batches ahead, Lightning fetches one, one is in use, one was until now."""
SMALL_BYTES = 1 << 16
"""Size up to which a tensor travels as bytes: what a pipe holds."""

_memories: "weakref.WeakValueDictionary[int, BatchMemory]" = weakref.WeakValueDictionary()
_keys = count()


class Layout(Protocol):
    """How images lie in a buffer; it can be pickled."""

    def arrange(self, memory: Tensor) -> Tensor:
        """Return the images in memory, uint8 [B]."""


class TensorBatch(Protocol):
    """A batch of any form."""

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return the batch with `function` of each tensor in its place."""


AnyBatch = TypeVar("AnyBatch", bound=TensorBatch)


class BatchMemory:
    """Buffers of the workers of a loader, which take no memory before they are first filled.

    If the system cannot provide them, a warning says so, and each batch gets memory of its own.

    Args:
        num_workers: number of workers.
        num_bytes: size of a buffer: that of the images of the largest batch. 0 gives each batch memory of its own.

    Attributes:
        num_bytes: as given.
    """

    def __init__(self, num_workers: int, num_bytes: int) -> None:
        self.key = next(_keys)
        self.num_bytes = num_bytes
        self._stride = -(-num_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._num_buffers = num_workers * BUFFERS
        total = self._num_buffers * (self._stride + 1)  # the marks come last
        self._shared = _shared_if_possible(total) if num_bytes and num_workers else None
        _memories[self.key] = self

    def take(self, num_bytes: int) -> "Buffer | None":
        """Take a free buffer of this worker; None if there is none, it would be too small, or this is no worker."""
        worker = get_worker_info()
        if self._shared is None or worker is None or not 0 < num_bytes <= self.num_bytes:
            return None
        is_taken = self.is_taken(worker.id)
        for number in range(BUFFERS):
            if not is_taken[number]:
                is_taken[number] = True
                return Buffer(self, worker.id, number)
        return None

    def is_taken(self, worker: int) -> np.ndarray:
        """Return the marks of a worker's buffers, bool [BUFFERS]; to clear one lets the worker use the buffer again."""
        first = self._num_buffers * self._stride + worker * BUFFERS
        return self._array[first : first + BUFFERS].view(np.bool_)

    def memory_of(self, worker: int, number: int) -> np.ndarray:
        """Return the bytes of a buffer, uint8 [num_bytes]: a new object with each call."""
        first = (worker * BUFFERS + number) * self._stride
        return self._array[first : first + self.num_bytes]

    @property
    def _array(self) -> np.ndarray:
        assert self._shared is not None  # or no buffer was taken
        return self._shared.array


def _shared_if_possible(num_bytes: int) -> SharedBytes | None:
    try:
        return SharedBytes(num_bytes)
    except OSError as error:
        logger.warning(
            f"no shared memory for the buffers of data-loading workers ({error.strerror}): each batch takes memory of "
            "its own, which is slower; the batches are the same"
        )
        return None


class Buffer:
    """A buffer that a worker has taken.

    Args:
        memory: buffers of the loader.
        worker, number: place of this one among them.
    """

    def __init__(self, memory: BatchMemory, worker: int, number: int) -> None:
        self._memory, self._place = memory, (worker, number)

    def slots(self, layout: "Layout") -> Tensor:
        """Return the images in the buffer."""
        return layout.arrange(torch.from_numpy(self._memory.memory_of(*self._place)))

    def release(self) -> None:
        """Give the buffer back unused."""
        worker, number = self._place
        self._memory.is_taken(worker)[number] = False

    def handed_over(self, layout: "Layout") -> "_HandedOver":
        """Return what arrives in the main process as the images in the buffer."""
        return _HandedOver(_received, (self._memory.key, *self._place, layout))


class _HandedOver:
    """What a worker sends in the place of a tensor: unpickled, it is a call that returns the tensor."""

    def __init__(self, function: Callable[..., Tensor], arguments: tuple[Any, ...]) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
        return self._call


def handed_over(batch: AnyBatch, images: Tensor, layout: Layout, buffer: Buffer | None) -> AnyBatch:
    """Return a batch as a worker sends it: what arrives in the main process is equal to `batch`.

    Args:
        batch: batch.
        images: the tensor of it that may be in a buffer.
        layout: layout of the images.
        buffer: buffer with the images; None if they have memory of their own.
    """

    def sent(tensor: Tensor) -> Tensor:
        if buffer is not None and tensor is images:
            return cast(Tensor, buffer.handed_over(layout))
        return cast(Tensor, _by_value(tensor))

    return batch.map_tensors(sent)


def _by_value(tensor: Tensor) -> _HandedOver:
    # Not left to torch: where /dev/shm is full, its error in a thread would lose the batch, and the loader would wait.
    form = tensor.dtype, tensor.shape, torch.empty_like(tensor, device="meta").stride()
    if tensor.numel() == 0:  # no bytes cannot be read as numbers of another type
        return _HandedOver(_empty, form)
    memory = PipedBytes(tensor.nbytes) if tensor.nbytes <= SMALL_BYTES else shared_or_piped(tensor.nbytes)
    _arranged(memory, *form).copy_(tensor)
    return _HandedOver(_arranged, (memory, *form))


def _empty(dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    return torch.empty_strided(shape, stride, dtype=dtype)


def _arranged(
    memory: SharedBytes | PipedBytes, dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor:
    return torch.from_numpy(memory.array).view(dtype).as_strided(shape, stride)


def _received(key: int, worker: int, number: int, layout: Layout) -> Tensor:
    """Return the images in a buffer, which is released when no tensor uses their memory any longer."""
    memory = _memories[key]
    array = memory.memory_of(worker, number)  # lives as long as any tensor made of it
    # numpy's marks: when the last tensor goes, torch may be tracing, or in inference mode.
    weakref.finalize(array, _free, memory.is_taken(worker), number, os.getpid()).atexit = False
    return layout.arrange(torch.from_numpy(array))


def _free(is_taken: np.ndarray, number: int, process: int) -> None:
    """Clear a mark; not in a process forked later, which may collect its copy of a batch that is still in use here."""
    if os.getpid() == process:
        is_taken[number] = False
