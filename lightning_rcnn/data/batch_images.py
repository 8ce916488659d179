"""The images of a batch that a worker fills: rendered into their slots, or as decoded, for the device to render.

Both forms have the same methods, and are chosen by class.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from lightning_rcnn.data.batch_memory import AnyBatch, BatchMemory, Buffer, Layout, handed_over
from lightning_rcnn.data.decoded_batch import DecodedBatch, DecodedImages, LoadedBatch
from lightning_rcnn.data.decoded_bytes import DecodedBytes
from lightning_rcnn.data.geometry import AxisAlignedMap
from lightning_rcnn.data.pixel_format import per_channel
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.slots import SlotLayout, allocate_slots
from lightning_rcnn.data.transforms.base import TrainingImage
from lightning_rcnn.data.transforms.render import render, rendered_size
from lightning_rcnn.data.transforms.view import displayed_size, map_into, visible_part, window_of
from lightning_rcnn.ops.color_steps import ColorKind, ColorStep
from lightning_rcnn.ops.placements import Placement
from lightning_rcnn.ops.resize_taps import axis_taps
from lightning_rcnn.structures import Batch


class BatchImages(Protocol):
    """The images of one batch while it is made.

    Args:
        layout: number, size and type of the rendered images.
        memory: shared memory of the workers.

    Attributes:
        slots: rendered images [N, C, H, W]; [N, C, 0, 0] if they are not rendered here.
    """

    slots: Tensor

    def __init__(self, layout: SlotLayout, memory: BatchMemory) -> None: ...

    @staticmethod
    def num_bytes(layout: SlotLayout, areas: np.ndarray) -> int:
        """Return the bytes of the images of the largest batch.

        Args:
            layout: layout of the largest batch.
            areas: pixels of each image of the data set, int64.
        """

    @property
    def room(self) -> np.ndarray | None:
        """Memory in which the next image that is placed may be decoded, uint8 [B]; None for memory of its own."""

    def place(self, slot: int, sample: TrainingImage, rule: ResizeRule) -> tuple[tuple[int, int], AxisAlignedMap]:
        """Put an image into a slot.

        Args:
            slot: number of the slot.
            sample: image after its transforms.
            rule: resize rule.

        Returns:
            (height, width) of the rendered image in pixels, and the map of points into its frame.
        """

    def finish(self, batch: Batch) -> LoadedBatch:
        """Return a batch as it leaves this process.

        Args:
            batch: the batch, with `slots` as its images.
        """

    def release(self) -> None:
        """Give the shared memory back unused."""


class RenderedImages(BatchImages):
    """Images that the worker renders into their slots."""

    def __init__(self, layout: SlotLayout, memory: BatchMemory) -> None:
        self._layout = layout
        self._buffer = memory.take(layout.num_bytes)
        self.slots = allocate_slots(layout) if self._buffer is None else self._buffer.slots(layout)

    @staticmethod
    def num_bytes(layout: SlotLayout, areas: np.ndarray) -> int:
        """Return the bytes of the slots."""
        return layout.num_bytes

    @property
    def room(self) -> None:
        """None: an image is rendered from memory of its own."""

    def place(self, slot: int, sample: TrainingImage, rule: ResizeRule) -> tuple[tuple[int, int], AxisAlignedMap]:
        """Render an image into its slot."""
        image, to_resized = render(sample, rule, self.slots[slot])
        return (image.shape[-2], image.shape[-1]), to_resized

    def finish(self, batch: Batch) -> Batch:
        """Return the batch, of which a worker hands its buffer over."""
        return _as_sent(batch, batch.images, self._layout, self._buffer)

    def release(self) -> None:
        """Give the buffer back unused."""
        if self._buffer is not None:
            self._buffer.release()


class UnrenderedImages(BatchImages):
    """Images as decoded, in the memory of the batch itself: the device does the rest."""

    def __init__(self, layout: SlotLayout, memory: BatchMemory) -> None:
        self._layout = layout
        self._bytes = DecodedBytes(memory)
        self._placements = [Placement()] * layout.num_slots
        self._colors: list[tuple[ColorStep, ...]] = [()] * layout.num_slots
        self._fill = torch.zeros(layout.num_slots, layout.channels, dtype=torch.uint8)
        self._taps: list[Tensor] = [torch.zeros(0, dtype=torch.int32)]
        self._num_taps = 0
        self.slots = torch.zeros(layout.num_slots, layout.channels, 0, 0, dtype=layout.dtype)

    @staticmethod
    def num_bytes(layout: SlotLayout, areas: np.ndarray) -> int:
        """Return the bytes of the largest images; few batches have them all, and memory that is not used costs none."""
        return int(np.sort(areas)[-layout.num_slots :].sum()) * layout.channels

    @property
    def room(self) -> np.ndarray:
        """The place in the batch where the next image comes."""
        return self._bytes.room

    def place(self, slot: int, sample: TrainingImage, rule: ResizeRule) -> tuple[tuple[int, int], AxisAlignedMap]:
        """Put an image into the memory of the batch if it is not there yet, and note how it is rendered."""
        height, width = rendered_size(sample, rule, self._layout.shape)
        window, (left, top, right, bottom) = window_of(sample), visible_part(sample)
        if any(step.kind == ColorKind.CONTRAST for step in sample.colors):  # whose mean is that of the whole image
            left, top, right, bottom = 0, 0, sample.image.shape[-1], sample.image.shape[-2]
        canvas_height, canvas_width = displayed_size(sample)
        taps = rule.taps(sample.image)
        along_y, along_x = axis_taps(canvas_height, height, taps), axis_taps(canvas_width, width, taps)
        first_y = self._num_taps
        for axis in (along_y, along_x):
            self._taps.append(torch.from_numpy(axis.table).view(-1))
            self._num_taps += axis.table.size
        self._placements[slot] = Placement(
            first_byte=self._bytes.append(sample.image[:, top:bottom, left:right]),
            height=bottom - top,
            width=right - left,
            top=top - window[1],
            left=left - window[0],
            canvas_height=window[3] - window[1],
            canvas_width=window[2] - window[0],
            is_transposed=int(sample.is_transposed),
            is_upside_down=int(sample.is_upside_down),
            is_mirrored=int(sample.is_mirrored),
            new_height=height,
            new_width=width,
            first_tap_y=first_y,
            taps_y=along_y.num_taps,
            bits_y=along_y.bits,
            first_tap_x=first_y + along_y.table.size,
            taps_x=along_x.num_taps,
            bits_x=along_x.bits,
        )
        self._colors[slot] = sample.colors
        self._fill[slot] = torch.tensor(per_channel(sample.fill, self._layout.channels), dtype=torch.uint8)
        return (height, width), map_into(sample, (height, width))

    def finish(self, batch: Batch) -> DecodedBatch:
        """Return the batch; an image that was placed and then left out is not rendered."""
        is_used = batch.image_sizes.any(dim=1).tolist()
        rows = [row if used else Placement() for row, used in zip(self._placements, is_used, strict=True)]
        pixels, layout, buffer = self._bytes.finish()
        images = DecodedImages(
            pixels, torch.tensor(rows), torch.cat(self._taps), self._fill, _color_table(self._colors)
        )
        decoded = DecodedBatch(batch, images, self._layout.shape, self._layout.dtype == torch.uint8)
        return _as_sent(decoded, pixels, layout, buffer)

    def release(self) -> None:
        """Give the buffer back unused."""
        self._bytes.release()


def _color_table(colors: Sequence[Sequence[ColorStep]]) -> Tensor:
    """Return the steps of N images, float64 [N, S, 2]: kind and value."""
    table = torch.zeros(len(colors), max(map(len, colors), default=0), 2, dtype=torch.float64)
    for row, steps in zip(table, colors, strict=True):
        if steps:
            row[: len(steps)] = torch.tensor(steps, dtype=torch.float64)
    return table


def _as_sent(batch: AnyBatch, images: Tensor, layout: Layout, buffer: Buffer | None) -> AnyBatch:
    """Return a batch as it leaves this process: a worker hands it over."""
    return batch if get_worker_info() is None else handed_over(batch, images, layout, buffer)
