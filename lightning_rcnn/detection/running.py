"""One process of a detection: images loaded in workers, the network in this process, the rest in others."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from lightning_rcnn.data.formats.coco.keypoints import points_of_result
from lightning_rcnn.data.image_files import shown_path
from lightning_rcnn.data.shown_bands import shown_bands
from lightning_rcnn.data.workers import initialize_worker, signals_blocked
from lightning_rcnn.detection.batching import in_batches
from lightning_rcnn.detection.drawn_paths import DRAWN_KEY
from lightning_rcnn.detection.exported import SUFFIXES, ExportedDetector
from lightning_rcnn.detection.finishing import Classes, Work, as_arrays, cannot_write, finish, process_died
from lightning_rcnn.detection.loading import (
    AHEAD,
    AHEAD_LARGE,
    LoadedImage,
    Prepare,
    is_loader_death,
    load_frames,
    load_stills,
    prepare_both,
    prepare_input,
    prepare_whole,
)
from lightning_rcnn.detection.results import Entry, key_of
from lightning_rcnn.detection.sources import Video
from lightning_rcnn.detection.stills import Still
from lightning_rcnn.detection.video import video_writer
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.inference import detect_batch, inputs_of, least_scores
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.detectors.tiles_and_views import TilesAndViews
from lightning_rcnn.detectors.whole_images import detect_objects
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.class_suppression import suppress_across_classes
from lightning_rcnn.precision import autocast
from lightning_rcnn.structures import Detections, FoundObjects

_BATCHES_FINISHING = 4
"""Batches whose images may still be finished while the network works on the next."""


@dataclass(frozen=True)
class Job:
    """What is to be done to each image; it travels to other processes.

    Attributes:
        model: checkpoint, or exported file.
        device: "cpu", "cuda:0", ...
        precision: "bf16-mixed" or "32-true".
        threshold: minimum score, one or one for each class.
        batch_size: images, or tiles of one, in a pass of the network.
        options: tiles and views.
        workers: processes that load, and as many that finish where masks are pasted or images drawn; 0 for none.
        drawn: folder for drawn images and videos; None to draw nothing.
        max_pixels: largest number of pixels of an image; None for Pillow's limit.
    """

    model: Path
    device: str
    precision: str
    threshold: float | Sequence[float]
    batch_size: int
    options: TilesAndViews
    workers: int
    drawn: Path | None
    max_pixels: int | None = None


class Outcome(NamedTuple):
    """What became of an image.

    Attributes:
        key: name under which a second call knows it.
        entry: its entry of the results; None if it has one already, or cannot be read.
        problem: reason why it cannot be read; empty if it was read.
        damage: what is wrong with a file that was read nevertheless.
    """

    key: str
    entry: Entry | None
    problem: str = ""
    damage: str = ""


def open_detector(path: Path) -> Detector | ExportedDetector:
    """Open a checkpoint or an exported file.

    Raises:
        InputError: it cannot be read.
    """
    return ExportedDetector(path) if path.suffix.lower() in SUFFIXES else load_detector(path)


class DetectionProcess:
    """Finds objects in streams of images.

    Args:
        job: what to do.
        detector: the detector, as `open_detector` gives it.
        stack: closed at the end; it holds the processes.
    """

    def __init__(self, job: Job, detector: Detector | ExportedDetector, stack: ExitStack) -> None:
        self._job = job
        self._pool: ProcessPoolExecutor | None = None
        # A list of boxes is made in less time than it takes to send it to another process and back.
        if job.workers and (job.drawn is not None or detector.main_result_type == "segm"):
            self._pool = stack.enter_context(ProcessPoolExecutor(job.workers, initializer=_initialize))
            with signals_blocked():  # the processes start with the first task
                self._pool.submit(int).result()
        self._detector = detector
        if isinstance(detector, Detector):
            detector.to(job.device)
        self._minimum = least_scores(job.threshold, detector.class_names)
        self._classes = Classes(
            detector.class_names,
            detector.category_ids,
            detector.mask_paste,
            detector.skeleton,
            detector.keypoints_drawn_above,
        )

    def stills(self, stills: Sequence[Still]) -> Iterator[Outcome]:
        """Yield the outcomes of images, in their order."""
        pixels, job = self._detector.preprocessing.pixels, self._job
        images = load_stills(stills, self._prepare, job.workers, pixels, job.max_pixels, self._ahead)
        with _deaths_named(images):
            yield from (outcome for _, outcome, _ in self._run(images, {}))

    def video(self, video: Video, done: Mapping[str, Entry]) -> Iterator[Outcome]:
        """Yield the outcomes of the frames of a video, and write the drawn video.

        Args:
            video: the video.
            done: entries of frames that are done: they are only drawn.

        Raises:
            InputError: the drawn video cannot be written.
        """
        pixels = self._detector.preprocessing.pixels
        if not pixels.is_rgb:
            yield Outcome(video.name, None, f"a video, which is RGB of 8 bits, but the model takes {pixels.layout}")
            return
        frames = load_frames(video, self._prepare, self._job.workers, self._ahead)
        with _deaths_named(frames):
            yield from self._frames(video, frames, done)

    def _frames(self, video: Video, frames: Iterator[LoadedImage], done: Mapping[str, Entry]) -> Iterator[Outcome]:
        first = next(frames)
        if first.problem:
            yield Outcome(video.name, None, first.problem)
            return
        outcomes = self._run(chain([first], frames), done)
        if self._job.drawn is None:
            yield from (outcome for _, outcome, _ in outcomes)
            return
        path = self._job.drawn / video.drawn
        try:
            with video_writer(path) as writer:
                for image, outcome, picture in outcomes:
                    if picture is not None and image.frame is not None:
                        writer.write(picture, image.frame)
                    yield outcome
        except ConnectionError:  # of a dead loader; see `_deaths_named`
            raise
        except OSError as error:
            raise InputError(cannot_write(path, error)) from error

    @property
    def _prepare(self) -> Prepare:
        if not self._job.options.is_plain:
            return prepare_whole  # tiles and views are resized one by one
        needs_pixels = self._job.drawn is not None or self._detector.search is not None
        return partial(prepare_both if needs_pixels else prepare_input, self._detector.preprocessing.resize_rule)

    @property
    def _ahead(self) -> int:
        return AHEAD if self._job.options.is_plain else AHEAD_LARGE

    def _run(
        self, images: Iterable[LoadedImage], done: Mapping[str, Entry]
    ) -> Iterator[tuple[LoadedImage, Outcome, Image.Image | None]]:
        """Yield images, outcomes and drawn frames in the order of the images."""
        waiting: dict[int, tuple[LoadedImage, Outcome, Image.Image | None]] = {}
        numbers = count()
        wanted = next(numbers)
        for image, future in self._submit(images, done):
            if future is None:
                waiting[image.number] = (image, Outcome(image.key, None, image.problem), None)
            else:
                entry, picture = future if isinstance(future, tuple) else future.result()
                is_new = key_of(entry) not in done
                outcome = Outcome(image.key, entry if is_new else None, damage=image.damage)
                waiting[image.number] = (image, outcome, picture)
            while wanted in waiting:
                yield waiting.pop(wanted)
                wanted = next(numbers)

    def _submit(self, images: Iterable[LoadedImage], done: Mapping[str, Entry]) -> Iterator[tuple[LoadedImage, Any]]:
        """Yield images and their futures, a few batches behind the network."""
        pending: deque[list[tuple[LoadedImage, Any]]] = deque()
        for batch in in_batches(images, partial(self._size_of, done), self._job.batch_size):
            pending.append(self._detect(batch, done))
            while len(pending) > _BATCHES_FINISHING:
                yield from pending.popleft()
        for rest in pending:
            yield from rest

    def _size_of(self, done: Mapping[str, Entry], image: LoadedImage) -> Any:
        if image.problem or image.key in done:
            return ""
        if image.resized is None:
            return image.number  # each image is batches of its own
        return self._detector.preprocessing.padded_size(*image.resized.shape[-2:])

    def _detect(self, batch: list[LoadedImage], done: Mapping[str, Entry]) -> list[tuple[LoadedImage, Any]]:
        """Run the network on a batch, and hand its images on."""
        if batch[0].problem or batch[0].key in done:
            return [(image, self._again(image, done)) for image in batch]
        pixels = [image.pixels for image in batch if image.pixels is not None]
        found: Sequence[Detections | FoundObjects]
        with torch.inference_mode(), autocast(self._job.precision, self._detector.device):
            if batch[0].resized is None:
                found = detect_objects(
                    self._detector, pixels, self._job.threshold, self._job.batch_size, self._job.options
                )
            else:
                resized = [image.resized for image in batch if image.resized is not None]
                inputs = inputs_of(self._detector, pixels, resized)
                found = detect_batch(self._detector, inputs, [image.size for image in batch], self._minimum)
                if self._job.options.nms_across_classes:
                    found = suppress_across_classes(found, self._detector.suppression.iou)
        return [(image, self._finish(image, found[slot])) for slot, image in enumerate(batch)]

    def _again(self, image: LoadedImage, done: Mapping[str, Entry]) -> Any:
        """Draw a frame again that is done; None for an image that cannot be read."""
        if image.problem:
            return None
        objects = done[image.key]["objects"]
        labels = {category_id: label for label, category_id in enumerate(self._classes.category_ids, start=1)}
        xywh = torch.tensor([one["bbox"] for one in objects]).reshape(-1, 4)
        found = FoundObjects(
            torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1),
            torch.tensor([one["score"] for one in objects]),
            torch.tensor([labels[one["category_id"]] for one in objects], dtype=torch.int64),
            [one["segmentation"] for one in objects] if objects and "segmentation" in objects[0] else None,
            torch.tensor([points_of_result(one["keypoints"]) for one in objects])
            if objects and "keypoints" in objects[0]
            else None,
        )
        return self._finish(image, found)

    def _finish(self, image: LoadedImage, found: Detections | FoundObjects) -> Any:
        entry: Entry = {"image": image.name}
        path, pixels = None, None
        if image.frame is not None:
            entry |= {"frame": image.frame.number, "seconds": round(image.frame.seconds, 6)}
        elif image.key != image.name:
            entry["sample"] = image.key
        if self._job.drawn is not None and image.pixels is not None:
            entry[DRAWN_KEY] = shown_path(image.drawn)
            path = self._job.drawn / image.drawn if image.frame is None else None
            pixels = shown_bands(image.pixels, self._detector.preprocessing.pixels).numpy()
        work = Work(entry, *image.size, as_arrays(found), isinstance(found, FoundObjects), pixels, path)
        if self._pool is None:
            return finish(work, self._classes)
        future: Future[tuple[Entry, Image.Image | None]] = self._pool.submit(finish, work, self._classes)
        return future


@contextmanager
def _deaths_named(images: Generator[LoadedImage]) -> Iterator[None]:
    """Turn the death of a worker into an `InputError`."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:  # a dead loader cannot send what it has announced
        if isinstance(error, RuntimeError) and not isinstance(error, BrokenProcessPool) and not is_loader_death(error):
            raise
        images.close()  # else the loader keeps a pipe open, and the broken pool waits for its end without end
        raise InputError(process_died()) from error


def _initialize() -> None:
    torch.set_num_threads(1)
    initialize_worker(0)
