"""Write samples into WebDataset shards: tar files whose bytes depend only on the samples."""

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from lightning_rcnn.data.index import Annotation, Shard, distinct_labels
from lightning_rcnn.data.pack.source import Sample
from lightning_rcnn.data.pack.tar_shard import TarShard

_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)


class ShardWriter:
    """Writes samples in order and collects their index entries.

    Args:
        folder: folder of the shards.
        shard_size: samples per shard; the last shard has fewer.

    Attributes:
        shards: index entries of the complete shards.
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
        self._open_shard: _OpenShard | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_shard()

    def write(self, sample: Sample) -> None:
        """Append a sample; a full shard is closed and the next one is opened."""
        if self._open_shard is None:
            first = sum(map(len, self.shards))
            self._open_shard = _OpenShard(self._folder / f"shard-{len(self.shards):06d}.tar", first)
        self._open_shard.write(sample)
        for annotation in sample.record["annotations"]:
            self.label_counts[annotation["label"]] += 1
            if "segmentation" in annotation:
                self.num_masks += 1
                self.num_single_masks += not annotation["iscrowd"]
            elif not annotation["iscrowd"]:
                self.num_without_mask += 1
                self.first_without_mask = self.first_without_mask or _location(sample, annotation)
        if len(self._open_shard.records) == self._shard_size:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._open_shard is not None:
            self.shards.append(self._open_shard.close())
            self._open_shard = None


def _location(sample: Sample, annotation: Annotation) -> str:
    return f"{sample.record['file_name']}, id {annotation['id']}"


class _OpenShard:
    def __init__(self, path: Path, first: int) -> None:
        self.records: list[dict] = []
        self._path = path
        self._first = first
        self._offsets = [0]
        self._file: BinaryIO = path.open("wb")
        self._tar = TarShard(self._file)

    def write(self, sample: Sample) -> None:
        record = _ENCODER.encode(sample.record).encode()
        key = f"{self._first + len(self.records):09d}"
        for extension, content in sorted({sample.extension: sample.image, "json": record}.items()):
            self._tar.add(f"{key}.{extension}", content)
        self.records.append(sample.record)
        self._offsets.append(self._tar.offset)

    def close(self) -> Shard:
        digest = self._tar.end()
        self._file.close()
        return Shard(
            name=self._path.name,
            sha256=digest,
            first=self._first,
            offsets=self._offsets,
            image_ids=[record["image_id"] for record in self.records],
            widths=[record["width"] for record in self.records],
            heights=[record["height"] for record in self.records],
            objects=[len(record["annotations"]) for record in self.records],
            classes=[distinct_labels(record["annotations"]) for record in self.records],
        )
