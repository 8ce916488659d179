"""Times the loader stage by stage, from reading to worker processes, against decoding alone."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Self

import torch
from rich.console import Console
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import get_worker_info

from lightning_rcnn.bench.timing import Timed, quartiles, take_turns, timed
from lightning_rcnn.data.batch_images import BatchImages, RenderedImages, UnrenderedImages
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.decode_in_format import decode_in_format
from lightning_rcnn.data.decoded_batch import LoadedBatch
from lightning_rcnn.data.decoded_image import DecodedImage
from lightning_rcnn.data.loader import PlannedLoader
from lightning_rcnn.data.padded_set import PaddedSet
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.plan import Plan
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.transforms.copy_paste import CopyPaste
from lightning_rcnn.data.transforms.flips import HorizontalFlip
from lightning_rcnn.errors import InputError

_CPU = torch.device("cpu")
_WINDOW = 16384  # the data module's default


@dataclass
class Stage:
    """A part of the loader.

    Attributes:
        name: name in the table.
        run: does the work for all images once, and returns how many there were.
        core_clock: returns the CPU time in seconds that has been spent on the stage; by default that of this process.
        runs: one entry for each repeat.
    """

    name: str
    run: Callable[[], int]
    core_clock: Callable[[], float] = time.process_time
    runs: list[Timed[int]] = field(default_factory=list)

    @property
    def images(self) -> int:
        """Images of one run."""
        return self.runs[-1].result

    @property
    def seconds(self) -> list[float]:
        """Wall time of each repeat."""
        return [run.seconds for run in self.runs]

    @property
    def core_seconds(self) -> list[float]:
        """CPU time of each repeat."""
        return [run.core_seconds for run in self.runs]

    @property
    def core_rate(self) -> float:
        """Images in a second of CPU time."""
        return self.images / quartiles(self.core_seconds).median


@dataclass(frozen=True)
class FirstBatch:
    """The cost of starting an epoch at some batch.

    Attributes:
        batch: number of the first batch.
        plan_seconds: seconds for the plan of the epoch.
        seconds: seconds for reading, decoding and collating the batch, with no shard open before.
        bytes_read: bytes read from shards.
    """

    batch: int
    plan_seconds: float
    seconds: float
    bytes_read: int


class LoaderBenchmark:
    """Stages over the same images of a training epoch, in its order.

    Args:
        data: shards under the resize rule.
        cache: cache of remote shards.
        batch_size: images in a batch.
        num_images: number of images to time, rounded down to whole batches.
    """

    def __init__(self, data: PaddedSet, cache: ShardCache, batch_size: int, num_images: int) -> None:
        self._data, self._cache, self._batch_size = data, cache, batch_size
        plan = self._plan(epoch=0)
        limit = max(1, num_images // batch_size)
        self._short_plan = Plan(
            plan.samples[:limit], plan.shapes[:limit], plan.scales[:limit], plan.occurrences[:limit]
        )

    def decoding_alone(self) -> Stage:
        """Decode bytes in memory."""
        images = [self._reader().read(number).image for number in self._numbers()]
        return Stage("decoding alone", lambda: _count(map(self._decoded, images)))

    def reading(self) -> Stage:
        """Read bytes and annotations from the shards."""
        reader = self._reader()
        return Stage("raw: read", lambda: _count(reader.read(number) for number in self._numbers()))

    def decoding(self) -> Stage:
        """Read and decode."""
        reader = self._reader()

        def run() -> int:
            return _count(self._decoded(reader.read(number).image) for number in self._numbers())

        return Stage("decoded: read, decode", run)

    def resizing(self) -> Stage:
        """Read, decode and resize."""
        return self._resizing("resized: read, decode, resize", lambda rule: rule)

    def resizing_plainly(self) -> Stage:
        """Do the same with the call that torch's manual has, which makes planes of the result."""
        return self._resizing("resized by torch's plain call", lambda rule: partial(resize_plainly, rule))

    def _resizing(self, name: str, resize_by: Callable[[ResizeRule], Callable[[Tensor], Tensor]]) -> Stage:
        reader = self._reader()
        work = [
            (number, resize_by(self._data.rules[scale]))
            for numbers, scale in zip(self._short_plan.samples.tolist(), self._short_plan.scales.tolist(), strict=True)
            for number in numbers
        ]

        def run() -> int:
            return _count(resize(self._decoded(reader.read(number).image).pixels) for number, resize in work)

        return Stage(name, run)

    def transforming(self) -> Stage:
        """Read, decode, resize, flip and collate, as a worker does."""
        return self._transforming("whole: read, decode, resize, flip, collate", self._dataset())

    def leaving_to_the_device(self) -> Stage:
        """Do the same, but leave the resize and the flip to the device, as `data.device_transforms` does."""
        return self._transforming("the same, resize and flip left to the device", self._dataset(UnrenderedImages))

    def copying_and_pasting(self) -> Stage:
        """Do the same with masks and copy-paste, which reads a second image for half of them."""
        transforms = [HorizontalFlip(), CopyPaste()]
        dataset = DetectionDataset(
            self._reader(), self._data.rules, "training", transforms, mask_form="bitmaps", pixels=self._pixels
        )
        return self._transforming("whole, with masks and copy-paste", dataset)

    def loading(self, num_workers: int, images: type[BatchImages] = RenderedImages) -> Stage:
        """Load through worker processes, which the untimed turn has started, masks included; the CPU time is theirs.

        Args:
            num_workers: number of processes.
            images: form of the images of a batch, which the device renders if the workers do not.
        """
        plan, num_batches = self._short_plan, len(self._short_plan)
        has_masks = not self._data.shard_set.lacking_masks
        dataset = _MeteredDataset(
            self._reader(),
            self._data.rules,
            "training",
            [HorizontalFlip()],
            mask_form="bitmaps" if has_masks else "none",
            pixels=self._pixels,
            images=images,
        ).for_workers(num_workers)
        image_bytes = dataset.image_bytes(self._batch_size, self._data.largest_shape, self._data.areas)
        loader = PlannedLoader(
            dataset, lambda epoch: plan, num_batches, image_bytes=image_bytes, num_workers=num_workers
        )
        return Stage(
            f"{num_workers} worker{'s' * (num_workers > 1)}{', with masks' * has_masks}"
            f"{', resize left to the device' * (images is UnrenderedImages)}",
            lambda: sum(len(batch.records) for batch in loader),
            dataset.core_seconds,
        )

    def first_batch(self, share: float) -> FirstBatch:
        """Start an epoch at a share of its batches, as after a restart."""
        start = time.perf_counter()
        plan = self._plan(epoch=1)
        planned = time.perf_counter()
        batch = int(share * len(plan))
        request = next(islice(_requests(plan), batch, None))
        _batch(self._dataset(), request)
        shards = self._data.shard_set.index.shards
        sizes = [end - start for shard in shards for start, end in zip(shard.offsets, shard.offsets[1:], strict=False)]
        return FirstBatch(
            batch, planned - start, time.perf_counter() - planned, sum(sizes[number] for number in request.samples)
        )

    def _transforming(self, name: str, dataset: DetectionDataset) -> Stage:
        def run() -> int:
            return sum(len(_batch(dataset, request).records) for request in _requests(self._short_plan))

        return Stage(name, run)

    def _plan(self, epoch: int) -> Plan:
        return self._data.plan_training(epoch, seed=0, batch_size=self._batch_size, rank=0, world=1, window=_WINDOW)

    def _numbers(self) -> list[int]:
        return self._short_plan.samples.ravel().tolist()

    @property
    def _pixels(self) -> PixelFormat:
        return self._data.shard_set.index.pixels

    def _decoded(self, image: bytes) -> DecodedImage:
        return decode_in_format(image, self._pixels, apply_exif=True)

    def _reader(self) -> ShardReader:
        return ShardReader(self._data.shard_set, self._cache)

    def _dataset(self, images: type[BatchImages] = RenderedImages) -> DetectionDataset:
        return DetectionDataset(
            self._reader(), self._data.rules, "training", [HorizontalFlip()], pixels=self._pixels, images=images
        )


class _MeteredDataset(DetectionDataset):
    """A dataset that counts the CPU time of the workers that use it."""

    def for_workers(self, num_workers: int) -> Self:
        """Make room for the times of so many workers."""
        self._core_seconds = torch.zeros(num_workers, dtype=torch.float64).share_memory_()
        return self

    def __getitem__(self, request: BatchRequest) -> LoadedBatch | InputError:
        batch = super().__getitem__(request)
        if (worker := get_worker_info()) is not None:
            self._core_seconds[worker.id] = time.process_time()
        return batch

    def core_seconds(self) -> float:
        """Return the CPU time of all workers up to the end of their last batches, in seconds."""
        return float(self._core_seconds.sum())


def time_stages(stages: Sequence[Stage], repeats: int, console: Console) -> None:
    """Fill in the runs of every stage, turn by turn."""
    runs = take_turns(stages, lambda stage: timed(stage.run, _CPU, stage.core_clock), repeats, console)
    for stage, own in zip(stages, runs, strict=True):
        stage.runs = own


def _requests(plan: Plan) -> Iterable[BatchRequest]:
    for samples, (height, width), scale in zip(plan.samples, plan.shapes.tolist(), plan.scales.tolist(), strict=True):
        yield BatchRequest(0, scale, (height, width), tuple(samples.tolist()))


def _batch(dataset: DetectionDataset, request: BatchRequest) -> LoadedBatch:
    batch = dataset[request]
    if isinstance(batch, InputError):
        raise batch
    return batch


def resize_plainly(rule: ResizeRule, image: Tensor) -> Tensor:
    """Resize [C, h, w] by torch's operator, as its manual has it, to the size of a rule."""
    size = rule.size(*image.shape[-2:])
    return interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def _count(items: Iterable[object]) -> int:
    return sum(1 for _ in items)
