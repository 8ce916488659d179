"""The bytes of decoded images, one after the other in one piece of memory.

Shape letters: C channels, h and w height and width of an image, B bytes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.data.batch_memory import BatchMemory, Buffer


class BytesLayout(NamedTuple):
    """The first bytes of a buffer.

    Attributes:
        num_bytes: B.
    """

    num_bytes: int

    def arrange(self, memory: Tensor) -> Tensor:
        """Return the bytes, uint8 [B], in memory that has at least as many."""
        return memory[: self.num_bytes]


class DecodedBytes:
    """Memory that images are copied into: a buffer of the worker, or memory of its own where that is too small.

    Args:
        memory: shared memory of the workers.
    """

    def __init__(self, memory: BatchMemory) -> None:
        self._buffer = memory.take(memory.num_bytes)
        self._memory = torch.empty(0, dtype=torch.uint8)
        if self._buffer is not None:
            self._memory = self._buffer.slots(BytesLayout(memory.num_bytes))
        self._in_buffer = 0  # bytes
        self._others: list[Tensor] = []  # images that do not fit, uint8 [h, w, C]
        self._num_bytes = 0

    def append(self, image: Tensor) -> int:
        """Take an image, uint8 [C, h, w], row by row with the channels of a pixel together; return its first byte."""
        first, self._num_bytes = self._num_bytes, self._num_bytes + image.numel()
        pixels = image.permute(1, 2, 0)
        if self._others or self._num_bytes > len(self._memory):
            self._others.append(pixels)
        else:
            self._in_buffer = self._num_bytes
            self._memory[first : self._num_bytes].view(pixels.shape).copy_(pixels)
        return first

    def finish(self) -> tuple[Tensor, BytesLayout, Buffer | None]:
        """Return all images, uint8 [B], with their layout and the buffer that has them; None for memory of their own.

        A buffer that is too small is given back.
        """
        layout = BytesLayout(self._num_bytes)
        if not self._others:
            return layout.arrange(self._memory), layout, self._buffer
        pixels = torch.cat([self._memory[: self._in_buffer], *(image.reshape(-1) for image in self._others)])
        self.release()
        return pixels, layout, None

    def release(self) -> None:
        """Give the buffer back."""
        if self._buffer is not None:
            self._buffer.release()
            self._buffer = None
