"""Write samples into WebDataset shards: tar files whose bytes depend only on the samples."""

import json
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from lightning_rcnn.data.index import Annotation, Shard, distinct_labels
from lightning_rcnn.data.pack.source import Sample
from lightning_rcnn.data.pack.tar_shard import TarShard

_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)


class ShardWriter:
    """Writes samples in order and collects their index entries.

    A thread writes and hashes the end of a shard while the next one is made.

    Args:
        folder: folder of the shards.
        shard_size: samples per shard; the last shard has fewer.

    Attributes:
        shards: index entries of the complete shards; of all when the writer is closed.
        label_counts: label -> number of objects.
        num_masks: number of objects with a mask, including crowds.
        num_single_masks: number of single objects (not crowds) with a mask.
        num_without_mask: number of single objects without a mask.
        first_without_mask: location of the first of these, for messages.
    """

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.shards: list[Shard] = []
        self.label_counts: Counter[int] = Counter()
        self.num_masks = 0
        self.num_single_masks = 0
        self.num_without_mask = 0
        self.first_without_mask = ""
        self._folder = folder
        self._shard_size = shard_size
        self._num_samples = 0
        self._thread = ThreadPoolExecutor(1)
        self._open_shard: _OpenShard | None = None
        self._ended_shard: tuple[_OpenShard, Future[str]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._thread:
            self._end_shard()
            self._close_ended()

    def write(self, sample: Sample) -> None:
        """Append a sample; a full shard is ended and the next one is opened."""
        if self._open_shard is None:
            number = len(self.shards) + (self._ended_shard is not None)
            path = self._folder / f"shard-{number:06d}.tar"
            self._open_shard = _OpenShard(path, self._num_samples, self._thread)
        self._open_shard.write(sample)
        self._num_samples += 1
        for annotation in sample.record["annotations"]:
            self.label_counts[annotation["label"]] += 1
            if "segmentation" in annotation:
                self.num_masks += 1
                self.num_single_masks += not annotation["iscrowd"]
            elif not annotation["iscrowd"]:
                self.num_without_mask += 1
                self.first_without_mask = self.first_without_mask or _location(sample, annotation)
        if len(self._open_shard.records) == self._shard_size:
            self._end_shard()

    def _end_shard(self) -> None:
        """End the open shard; the one before it has long been written."""
        self._close_ended()
        if self._open_shard is not None:
            self._ended_shard = self._open_shard, self._open_shard.end()
            self._open_shard = None

    def _close_ended(self) -> None:
        if self._ended_shard is not None:
            shard, digest = self._ended_shard
            self._ended_shard = None  # even where it fails: its file is closed, and cannot be closed again
            self.shards.append(shard.close(digest))


def _location(sample: Sample, annotation: Annotation) -> str:
    return f"{sample.record['file_name']}, id {annotation['id']}"


class _OpenShard:
    def __init__(self, path: Path, first: int, thread: ThreadPoolExecutor) -> None:
        self.records: list[dict] = []
        self._path = path
        self._first = first
        self._offsets = [0]
        self._file: BinaryIO = path.open("wb")
        self._tar = TarShard(self._file, thread)

    def write(self, sample: Sample) -> None:
        record = _ENCODER.encode(sample.record).encode()
        key = f"{self._first + len(self.records):09d}"
        for extension, content in sorted({sample.extension: sample.image, "json": record}.items()):
            self._tar.add(f"{key}.{extension}", content)
        self.records.append(sample.record)
        self._offsets.append(self._tar.offset)

    def end(self) -> Future[str]:
        return self._tar.end()

    def close(self, digest: Future[str]) -> Shard:
        with self._file:
            sha256 = digest.result()
        return Shard(
            name=self._path.name,
            sha256=sha256,
            first=self._first,
            offsets=self._offsets,
            image_ids=[record["image_id"] for record in self.records],
            widths=[record["width"] for record in self.records],
            heights=[record["height"] for record in self.records],
            objects=[len(record["annotations"]) for record in self.records],
            classes=[distinct_labels(record["annotations"]) for record in self.records],
        )
