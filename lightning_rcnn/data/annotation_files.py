"""Annotations beside shards that another program wrote: a line of JSON a sample, in place of a copy of the images.

`lightning-rcnn pack webdataset` writes them with the index. A line is the sample's JSON (see `data/index.Annotation`)
and `source`: the sample's key in the shard, and the first byte of its image and the byte after the last.
"""

import json
import tarfile
from typing import Any, NamedTuple

from lightning_rcnn.data.index import Shard

ANNOTATIONS_SUFFIX = ".annotations.jsonl"
"""End of the name of a file of annotations; before it, that of its shard without suffix."""
SOURCE = "source"
HEADER = tarfile.BLOCKSIZE
"""Bytes of the tar header before a member's content."""


class SampleLine(NamedTuple):
    """The line of one sample.

    Attributes:
        content: JSON of the sample.
        key: key of the sample in its shard.
        start, end: first byte of its image in the shard, and the byte after the last.
    """

    content: dict[str, Any]
    key: str
    start: int
    end: int


def parse_line(line: bytes) -> SampleLine:
    """Parse the line of a sample.

    Raises:
        ValueError: it is not such a line.
    """
    try:
        content = json.loads(line)
        source = content.pop(SOURCE)
        return SampleLine(content, str(source["key"]), int(source["start"]), int(source["end"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "its annotation is not at its position, the file was damaged or changed; run `lightning-rcnn pack "
            "webdataset` again"
        ) from error


def as_file(shard: Shard) -> Shard:
    """Return the annotations of a shard in the form of a shard, as which they are fetched, cached and read."""
    assert shard.annotations is not None
    name, sha256, end = shard.annotations.name, shard.annotations.sha256, shard.annotations.offsets[-1]
    return Shard(name, sha256, shard.first, [0, end], [], [], [], [], [])
