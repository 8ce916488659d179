"""Loading of images in worker processes: read, decode and resize, one image after the other, in order."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from lightning_rcnn.data.decode import pixel_limit
from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.workers import initialize_worker, signals_blocked
from lightning_rcnn.detection.sources import Video
from lightning_rcnn.detection.stills import Still, UnreadableImage
from lightning_rcnn.detection.video import Frame, VideoError, read_frames

_PREFETCHED = 16
"""Images that each worker holds in advance; large ones are few, see `_PREFETCHED_TILED`."""
_PREFETCHED_LARGE = 2
_COPIED_BYTES = 1 << 18
"""Size up to which a tensor is copied through a pipe, which costs less than a file of shared memory."""

Resize = Callable[[Tensor], Tensor]


class LoadedImage(NamedTuple):
    """An image on its way to the network.

    Attributes:
        number: position in the source.
        key: name under which a second call knows it again.
        name: name in the results.
        drawn: relative path of a drawn image.
        pixels: [C, h, w] of the detector's pixel format; None if it cannot be read.
        resized: the same, resized for the network; None if parts of it are resized later.
        frame: position in a video; None for a still.
        problem: reason why it cannot be read; empty if it was read.
        damage: what is wrong with a file that decodes nevertheless.
    """

    number: int
    key: str
    name: str = ""
    drawn: Path = Path()
    pixels: Tensor | None = None
    resized: Tensor | None = None
    frame: Frame | None = None
    problem: str = ""
    damage: str = ""


def load_stills(
    stills: Sequence[Still],
    resize: Resize | None,
    num_workers: int,
    pixels: PixelFormat = RGB,
    max_pixels: int | None = None,
) -> Generator[LoadedImage]:
    """Load images in order.

    Args:
        stills: the images.
        resize: function that resizes an image for the network; None to leave that to the network's caller.
        num_workers: number of processes; 0 loads in this one.
        pixels: pixel format of the detector.
        max_pixels: largest number of pixels of an image; None for Pillow's limit.
    """
    return _load(_StillData(stills, resize, pixels, max_pixels), min(num_workers, len(stills)), is_large=resize is None)


def load_frames(video: Video, resize: Resize | None, num_workers: int) -> Generator[LoadedImage]:
    """Load the frames of a video in order, in one process.

    A video that cannot be read, or breaks off, ends with an image that has a problem.
    """
    return _load(_FrameData(video, resize), min(num_workers, 1), is_large=resize is None)


def is_loader_death(error: RuntimeError) -> bool:
    """Tell whether torch raised an error because a worker was lost; it may do so at any line of this process."""
    return str(error).startswith("DataLoader worker")


def _load(data: Dataset[LoadedImage], num_workers: int, is_large: bool) -> Generator[LoadedImage]:
    pack: Callable[[Any], LoadedImage] = _pack if num_workers else _same
    loader: Iterable[LoadedImage] = DataLoader(
        data,
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=(_PREFETCHED_LARGE if is_large else _PREFETCHED) if num_workers else None,
        worker_init_fn=initialize_worker,
        collate_fn=pack,
    )
    with signals_blocked():
        images = iter(loader)
    try:
        yield from map(_unpack, images)
    finally:
        if isinstance(images, _MultiProcessingDataLoaderIter):
            images._shutdown_workers()  # else torch reports a dead one later, at any line of this process


def _same(image: LoadedImage) -> LoadedImage:
    return image


def _pack(image: LoadedImage) -> LoadedImage:
    """Turn small tensors into arrays, which are sent by value; in a worker."""
    small: dict[str, Any] = {name: value.numpy() for name, value in image._asdict().items() if _is_small(value)}
    return image._replace(**small)


def _unpack(image: LoadedImage) -> LoadedImage:
    arrays = {name: value for name, value in image._asdict().items() if isinstance(value, np.ndarray)}
    tensors: dict[str, Any] = {name: torch.from_numpy(value) for name, value in arrays.items()}
    return image._replace(**tensors)


def _is_small(value: Any) -> bool:
    return isinstance(value, Tensor) and value.nbytes <= _COPIED_BYTES


class _StillData(Dataset[LoadedImage]):
    def __init__(
        self, stills: Sequence[Still], resize: Resize | None, pixels: PixelFormat, max_pixels: int | None
    ) -> None:
        self._stills, self._resize, self._pixels, self._max_pixels = stills, resize, pixels, max_pixels

    def __len__(self) -> int:
        return len(self._stills)

    def __getitem__(self, number: int) -> LoadedImage:
        still = self._stills[number]
        try:
            with pixel_limit(self._max_pixels):
                pixels, name, drawn, damage = still.read(self._pixels)
        except UnreadableImage as error:
            return LoadedImage(number, still.key, problem=str(error))
        resized = None if self._resize is None else self._resize(pixels)
        return LoadedImage(number, still.key, name, drawn, pixels, resized, damage=damage)


class _FrameData(IterableDataset[LoadedImage]):
    def __init__(self, video: Video, resize: Resize | None) -> None:
        self._video, self._resize = video, resize

    def __iter__(self) -> Iterator[LoadedImage]:
        video, number = self._video, 0
        try:
            for number, (frame, pixels) in enumerate(read_frames(video.address), start=1):
                resized = None if self._resize is None else self._resize(pixels)
                key = f"{video.name}#{frame.number}"
                yield LoadedImage(number - 1, key, video.name, video.drawn, pixels, resized, frame, damage=frame.damage)
        except VideoError as error:
            yield LoadedImage(number, video.name, problem=str(error))
