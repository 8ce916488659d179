"""How fast images come: read, decoded, as batches, and through worker processes, beside decoding alone."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from rich.console import Console

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.decode import decode_image
from lightning_rcnn.data.loader import PlannedLoader
from lightning_rcnn.data.padded_set import PaddedSet
from lightning_rcnn.data.plan import Plan
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.transforms.flips import HorizontalFlip
from lightning_rcnn.errors import InputError
from lightning_rcnn.progress import track
from lightning_rcnn.structures import Batch

_WINDOW = 16384  # the data module's default


@dataclass
class Stage:
    """A part of the loader.

    Attributes:
        name: for the table.
        run: does its work once for all images; gives how many there were.
        seconds: for each repeat, by the clock.
        core_seconds: for each repeat, of one core of this process.
    """

    name: str
    run: Callable[[], int]
    seconds: list[float] = field(default_factory=list)
    core_seconds: list[float] = field(default_factory=list)
    images: int = 0


@dataclass(frozen=True)
class FirstBatch:
    """What it takes until an epoch goes on.

    Attributes:
        batch: the number of the first batch.
        plan_seconds: for the plan of the epoch.
        seconds: for reading, decoding and collating, with nothing open.
        bytes_read: from shards.
    """

    batch: int
    plan_seconds: float
    seconds: float
    bytes_read: int


class LoaderBenchmark:
    """Stages over the same images of a training epoch, in its order.

    Args:
        data: the shards under the resize rule.
        cache: for shards from elsewhere.
        batch_size: images of a batch.
        num_images: how many are timed.
    """

    def __init__(self, data: PaddedSet, cache: ShardCache, batch_size: int, num_images: int) -> None:
        self._data, self._cache, self._batch_size = data, cache, batch_size
        plan = self._plan(epoch=0)
        most = max(1, num_images // batch_size)
        self._short_plan = Plan(plan.samples[:most], plan.shapes[:most], plan.scales[:most])

    def decoding_alone(self) -> Stage:
        """The same decoder on bytes in memory."""
        images = [self._reader().read(number).image for number in self._numbers()]
        return Stage("decoding alone", lambda: _count(decode_image(image, apply_exif=True) for image in images))

    def reading(self) -> Stage:
        """Bytes and annotations from the shards."""
        reader = self._reader()
        return Stage("raw: read", lambda: _count(reader.read(number) for number in self._numbers()))

    def decoding(self) -> Stage:
        """Read and decoded."""
        reader = self._reader()

        def run() -> int:
            return _count(decode_image(reader.read(number).image, apply_exif=True) for number in self._numbers())

        return Stage("decoded: read, decode", run)

    def transforming(self) -> Stage:
        """Read, decoded, resized, flipped and collated: what a worker does."""
        dataset = self._dataset()

        def run() -> int:
            return sum(len(_batch(dataset, request).records) for request in _requests(self._short_plan))

        return Stage("transformed: read, decode, resize, collate", run)

    def loading(self, num_workers: int) -> Stage:
        """The same through worker processes, which have started before."""
        plan, num_batches = self._short_plan, len(self._short_plan)
        loader = PlannedLoader(self._dataset(), lambda epoch: plan, num_batches, num_workers=num_workers)
        return Stage(f"loader with {num_workers} workers", lambda: sum(len(batch.records) for batch in loader))

    def first_batch(self, share: float) -> FirstBatch:
        """Begin an epoch at a share of it, as after a restart."""
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

    def _plan(self, epoch: int) -> Plan:
        return self._data.plan_training(epoch, seed=0, batch_size=self._batch_size, rank=0, world=1, window=_WINDOW)

    def _numbers(self) -> list[int]:
        return self._short_plan.samples.ravel().tolist()

    def _reader(self) -> ShardReader:
        return ShardReader(self._data.shard_set, self._cache)

    def _dataset(self) -> DetectionDataset:
        return DetectionDataset(self._reader(), self._data.rules, "training", [HorizontalFlip()])


def race(stages: Sequence[Stage], repeats: int, console: Console) -> None:
    """Time every stage, turn by turn, so that a busy machine slows all of them alike; the first turn does not count."""
    for repeat in track(range(1 + repeats), "timing, turns", console):
        for stage in stages:
            start, core_start = time.perf_counter(), time.process_time()
            stage.images = stage.run()
            if repeat:
                stage.seconds.append(time.perf_counter() - start)
                stage.core_seconds.append(time.process_time() - core_start)


def _requests(plan: Plan) -> Iterable[BatchRequest]:
    for samples, (height, width), scale in zip(plan.samples, plan.shapes.tolist(), plan.scales.tolist(), strict=True):
        yield BatchRequest(0, scale, (height, width), tuple(samples.tolist()))


def _batch(dataset: DetectionDataset, request: BatchRequest) -> Batch:
    batch = dataset[request]
    if isinstance(batch, InputError):
        raise batch
    return batch


def _count(things: Iterable[object]) -> int:
    return sum(1 for _ in things)
