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
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.workers import initialize_worker, signals_blocked
from lightning_rcnn.detection.sources import Video
from lightning_rcnn.detection.stills import Still, UnreadableImage
from lightning_rcnn.detection.video import Frame, VideoError, read_frames

AHEAD = 16
"""Images that each worker loads in advance."""
AHEAD_LARGE = 2
"""The same for images that the network sees in parts or in several sizes, which may be large."""
_TOGETHER = 4
"""Images that a worker sends at once, where there are many for each: a message takes longer than a small image."""
_COPIED_BYTES = 1 << 18
"""Size up to which a tensor is copied through a pipe, which costs less than a file of shared memory."""


class Prepared(NamedTuple):
    """What the network's process needs of an image.

    Attributes:
        pixels: [C, h, w]; None if the network's input is enough.
        resized: the same, resized for the network; None if parts of it are resized later.
    """

    pixels: Tensor | None
    resized: Tensor | None


Prepare = Callable[[Tensor], Prepared]


class LoadedImage(NamedTuple):
    """An image on its way to the network.

    Attributes:
        number: position in the source.
        key: name under which a second call knows it again.
        name: name in the results.
        drawn: relative path of a drawn image.
        size: height and width, pixels.
        pixels, resized: see `Prepared`; None if it cannot be read.
        frame: position in a video; None for a still.
        problem: reason why it cannot be read; empty if it was read.
        damage: what is wrong with a file that decodes nevertheless.
    """

    number: int
    key: str
    name: str = ""
    drawn: Path = Path()
    size: tuple[int, int] = (0, 0)
    pixels: Tensor | None = None
    resized: Tensor | None = None
    frame: Frame | None = None
    problem: str = ""
    damage: str = ""


def prepare_whole(image: Tensor) -> Prepared:
    """Keep an image in its own size."""
    return Prepared(image, None)


def prepare_both(rule: ResizeRule, image: Tensor) -> Prepared:
    """Resize an image, and keep it to be drawn on or to be searched for proposals."""
    return Prepared(image, rule(image))


def prepare_input(rule: ResizeRule, image: Tensor) -> Prepared:
    """Resize an image, and keep nothing else: sending it takes longer than resizing it."""
    return Prepared(None, rule(image))


def load_stills(
    stills: Sequence[Still],
    prepare: Prepare,
    num_workers: int,
    pixels: PixelFormat = RGB,
    max_pixels: int | None = None,
    ahead: int = AHEAD,
) -> Generator[LoadedImage]:
    """Load images in order.

    Args:
        stills: the images.
        prepare: function from an image to what is needed of it.
        num_workers: number of processes; 0 loads in this one.
        pixels: pixel format of the detector.
        max_pixels: largest number of pixels of an image; None for Pillow's limit.
        ahead: number of images that each process loads in advance.
    """
    num_workers = min(num_workers, len(stills))
    together = max(1, min(_TOGETHER, ahead // _TOGETHER, len(stills) // (ahead * max(num_workers, 1))))
    return _load(_StillData(stills, prepare, pixels, max_pixels), num_workers, ahead, together)


def load_frames(video: Video, prepare: Prepare, num_workers: int, ahead: int = AHEAD) -> Generator[LoadedImage]:
    """Load the frames of a video in order, in one process.

    A video that cannot be read, or breaks off, ends with an image that has a problem.
    """
    return _load(_FrameData(video, prepare), min(num_workers, 1), ahead, together=1)  # a stream may be slow


def is_loader_death(error: RuntimeError) -> bool:
    """Tell whether torch raised an error because a worker was lost; it may do so at any line of this process."""
    return str(error).startswith("DataLoader worker")


def _load(data: Dataset[LoadedImage], num_workers: int, ahead: int, together: int) -> Generator[LoadedImage]:
    pack: Callable[[Any], list[LoadedImage]] = _pack if num_workers else list
    loader: Iterable[list[LoadedImage]] = DataLoader(
        data,
        batch_size=together,
        num_workers=num_workers,
        prefetch_factor=ahead // together if num_workers else None,
        worker_init_fn=initialize_worker,
        collate_fn=pack,
    )
    with signals_blocked():
        messages = iter(loader)
    try:
        for message in messages:
            yield from map(_unpack, message)
    finally:
        if isinstance(messages, _MultiProcessingDataLoaderIter):
            messages._shutdown_workers()  # else torch reports a dead one later, at any line of this process


def _pack(images: list[LoadedImage]) -> list[LoadedImage]:
    """Turn small tensors into arrays, which are sent by value; in a worker."""
    small = [{name: value.numpy() for name, value in _tensors(image).items() if _is_small(value)} for image in images]
    return [image._replace(**arrays) for image, arrays in zip(images, small, strict=True)]


def _unpack(image: LoadedImage) -> LoadedImage:
    arrays = {name: value for name, value in _tensors(image).items() if isinstance(value, np.ndarray)}
    tensors: dict[str, Any] = {name: torch.from_numpy(value) for name, value in arrays.items()}
    return image._replace(**tensors)


def _tensors(image: LoadedImage) -> dict[str, Any]:
    return {"pixels": image.pixels, "resized": image.resized}


def _is_small(value: Any) -> bool:
    return isinstance(value, Tensor) and value.nbytes <= _COPIED_BYTES


class _StillData(Dataset[LoadedImage]):
    def __init__(self, stills: Sequence[Still], prepare: Prepare, pixels: PixelFormat, max_pixels: int | None) -> None:
        self._stills, self._prepare, self._pixels, self._max_pixels = stills, prepare, pixels, max_pixels

    def __len__(self) -> int:
        return len(self._stills)

    def __getitem__(self, number: int) -> LoadedImage:
        still = self._stills[number]
        try:
            with pixel_limit(self._max_pixels):
                pixels, name, drawn, damage = still.read(self._pixels)
        except UnreadableImage as error:
            return LoadedImage(number, still.key, problem=str(error))
        return LoadedImage(number, still.key, name, drawn, _size(pixels), *self._prepare(pixels), damage=damage)


class _FrameData(IterableDataset[LoadedImage]):
    def __init__(self, video: Video, prepare: Prepare) -> None:
        self._video, self._prepare = video, prepare

    def __iter__(self) -> Iterator[LoadedImage]:
        video, number = self._video, 0
        try:
            for number, (frame, pixels) in enumerate(read_frames(video.address), start=1):
                key = f"{video.name}#{frame.number}"
                yield LoadedImage(
                    number - 1,
                    key,
                    video.name,
                    video.drawn,
                    _size(pixels),
                    *self._prepare(pixels),
                    frame=frame,
                    damage=frame.damage,
                )
        except VideoError as error:
            yield LoadedImage(number, video.name, problem=str(error))


def _size(pixels: Tensor) -> tuple[int, int]:
    _, height, width = pixels.shape
    return height, width
