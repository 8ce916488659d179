"""The bytes of decoded images, one after the other in one piece of memory.

Shape letters: C channels, h and w height and width of an image, B bytes.
"""

from typing import NamedTuple

import numpy as np
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
    """Memory for images, one after the other: a buffer of the worker, or memory of its own where that is too small.

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

    @property
    def room(self) -> np.ndarray:
        """The free rest of the buffer, uint8 [B]: an image that is decoded into it need not be copied."""
        return self._memory[len(self._memory) if self._others else self._num_bytes :].numpy()

    def append(self, image: Tensor) -> int:
        """Take an image, uint8 [C, h, w], row by row with the channels of a pixel together; return its first byte.

        An image that is there already stays; a part of one that was decoded into `room` is moved.
        """
        first, self._num_bytes = self._num_bytes, self._num_bytes + image.numel()
        pixels = image.permute(1, 2, 0)
        if self._others or self._num_bytes > len(self._memory):
            self._others.append(pixels)
        else:
            self._in_buffer = self._num_bytes
            own = self._memory[first : self._num_bytes].view(pixels.shape)
            if (own.data_ptr(), own.stride()) != (pixels.data_ptr(), pixels.stride()):
                np.copyto(own.numpy(), pixels.numpy())  # also if they overlap
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
