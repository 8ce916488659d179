"""The index beside the shards, from which plan and reader know the data set without opening a shard.

A packed data set is a folder of WebDataset tar files and one `index.json`. A sample is two tar members, `KEY.EXT` (the
image file's bytes, unchanged) and `KEY.json` (see `Annotation`), and a third, `KEY.proposals.npy` (see
`stored_proposals.py`), if proposals were made in advance. KEY is the sample's number in the set with nine digits,
because dots in a WebDataset key would merge or split samples. The original file name is in the JSON.

Shards that another program wrote stay as they are: their JSON, in our form, is in a file beside each.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write
from lightning_rcnn.masks.segmentation import Segmentation
from lightning_rcnn.skeleton import Skeleton

INDEX_NAME = "index.json"
FORMAT = "lightning-rcnn shards"
_INDEX_BEGINNING = re.compile(rb'\s*\{\s*"format"\s*:\s*"' + FORMAT.encode())
VERSION = 2
LABEL_LISTS = ("negative_labels", "not_exhaustive_labels")
"""Keys of a sample's JSON for labels of the image: absent classes, and those that are not annotated exhaustively."""
FREQUENCIES = ("r", "c", "f")
"""LVIS's groups of classes: rare (in up to 10 training images), common (up to 100), frequent (more)."""


class Annotation(TypedDict):
    """One object in a sample's JSON, in the original frame.

    The JSON has `image_id`, `file_name`, `width` and `height` (original frame), `apply_exif` (whether the boxes refer
    to the image after its EXIF orientation), `annotations`, a list of these, and, in a federated set, the lists of
    labels `LABEL_LISTS`.
    """

    id: int
    bbox: list[float]  # x1, y1, x2, y2: edges in pixels
    label: int  # 1..K
    iscrowd: int
    difficult: int
    area: float
    segmentation: NotRequired[Segmentation]
    keypoints: NotRequired[
        list[float]
    ]  # x, y, visibility in turn (see `data/keypoints.py`); missing if none is labeled
    num_keypoints: NotRequired[int]  # 0 if COCO's file states that none is labeled although some are: OKS ignores it


@dataclass(frozen=True)
class Category:
    """A class.

    Attributes:
        label: label 1..K.
        name: name.
        id: id in the original data set.
        frequency: LVIS's group of the class: "r" (rare), "c" (common) or "f" (frequent); empty if it is not stated. Two
            sets whose classes differ in this alone have the same classes.
    """

    label: int
    name: str
    id: int
    frequency: str = field(default="", compare=False)

    def to_plain(self) -> dict[str, Any]:
        """Return the class as plain data, without a frequency that is not stated."""
        content = asdict(self)
        if not self.frequency:
            del content["frequency"]
        return content


def common_frequencies(stated: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return class name -> frequency, of classes that several categories become.

    Args:
        stated: name of the class and frequency of each category. Where those of a class differ, its own is unknown.
    """
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for name, frequency in stated:
        groups[name].add(frequency)
    return {name: group.pop() if len(group) == 1 else "" for name, group in groups.items()}


@dataclass(frozen=True)
class AnnotationFile:
    """Annotations beside a shard that another program wrote; see `data/annotation_files.py`.

    Attributes:
        name: file name, beside the shard.
        sha256: hash of the file.
        offsets: byte positions of the samples' lines, and the end of the last one.
    """

    name: str
    sha256: str
    offsets: list[int]


@dataclass(frozen=True)
class Shard:
    """One tar file; the lists have one entry per sample.

    Attributes:
        name: file name; the address is that of the index with the last part replaced.
        sha256: hash of the file.
        first: number of the first sample in the set; sample i has the key f"{first + i:09d}".
        offsets: byte positions of the samples in the tar file, and the end of the last sample.
        image_ids: image ids of the samples.
        widths, heights: image sizes in pixels, original frame.
        objects: number of annotations of each sample.
        classes: distinct labels of each sample, see `distinct_labels`; empty as a whole for a torch `Dataset` whose
            labels were not read.
        annotations: annotations of a shard that another program wrote; None for one with them inside. Its keys are its
            own, and its samples are those that are used.
    """

    name: str
    sha256: str
    first: int
    offsets: list[int]
    image_ids: list[int]
    widths: list[int]
    heights: list[int]
    objects: list[int]
    classes: list[list[int]]
    annotations: AnnotationFile | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def hashes(self) -> list[str]:
        """Hashes of all that its samples are read from."""
        return [self.sha256] if self.annotations is None else [self.sha256, self.annotations.sha256]

    def to_plain(self) -> dict[str, Any]:
        """Return the shard as plain data; `from_plain` is the inverse."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}  # `asdict` would copy each number
        if self.annotations is None:
            del content["annotations"]
        else:
            content["annotations"] = asdict(self.annotations)
        return content

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> "Shard":
        """Return the shard that plain data describe."""
        annotations = content.get("annotations")
        return cls(**{**content, "annotations": AnnotationFile(**annotations) if annotations else None})


def distinct_labels(annotations: Iterable[Annotation]) -> list[int]:
    """Return the labels of a sample's objects, each once, in ascending order.

    Crowds do not count: they are never positives, so a model learns no class from them.
    """
    return sorted({annotation["label"] for annotation in annotations if not annotation["iscrowd"]})


@dataclass(frozen=True)
class ProposalOrigin:
    """The origin of the proposals beside the images.

    Attributes:
        method: description of everything that determines the proposals.
        source: fingerprint of the data set without proposals.
    """

    method: str
    source: str


@dataclass(frozen=True)
class ShardIndex:
    """A packed data set.

    Attributes:
        name: name of the set for messages, for example "bccd/train".
        categories: classes in the order of their labels.
        has_masks: whether its objects have segmentations; some may lack theirs (`missing_mask` in the report).
        shards: shards in the order of their samples.
        report: defect -> count, as printed by the packing.
        proposals: origin of the proposals beside the images; None if there are none, or if several sets differ.
        is_federated: whether an image was looked through for some classes only, as in LVIS: those of its objects, and
            those in its list of absent labels.
        skeleton: keypoints that its objects have; some may lack theirs. None for a set without keypoints.
        pixels: channels of the images, and the range of their values.
    """

    name: str
    categories: list[Category]
    has_masks: bool
    shards: list[Shard]
    report: dict[str, int]
    proposals: ProposalOrigin | None = None
    is_federated: bool = False
    skeleton: Skeleton | None = None
    pixels: PixelFormat = RGB

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    @property
    def fingerprint(self) -> str:
        """Sha256 over everything that determines what a run reads: categories, hashes of the shards, and pixels."""
        parts: list[Any] = [
            [category.to_plain() for category in self.categories],
            [each for shard in self.shards for each in shard.hashes],
        ]
        if self.skeleton is not None:
            parts.append(asdict(self.skeleton))
        if not self.pixels.is_rgb:
            parts.append(replace(self.pixels, bands=()).to_plain())
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of `index.json`; `from_json` is the inverse."""
        content = {"format": FORMAT, "version": VERSION, "fingerprint": self.fingerprint}
        content |= {each.name: getattr(self, each.name) for each in fields(self)}
        content["categories"] = [category.to_plain() for category in self.categories]
        content["shards"] = [shard.to_plain() for shard in self.shards]
        for key, described in (("proposals", self.proposals), ("skeleton", self.skeleton)):
            if described is None:
                del content[key]
            else:
                content[key] = asdict(described)
        if not self.is_federated:
            del content["is_federated"]
        content["pixels"] = self.pixels.to_plain()
        if self.pixels == RGB:
            del content["pixels"]
        return json.dumps(content, indent=None, separators=(",", ":"), sort_keys=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str) -> "ShardIndex":
        """Read the text of an `index.json`; `source` names it in errors.

        Raises:
            InputError: not an index, another version, or changed after it was written.
        """
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise KeyError("format")
            if content["version"] != VERSION:
                raise InputError(
                    f"{source}: index version {content['version']}, this program reads {VERSION}; pack the set again"
                )
            index = cls(
                name=content["name"],
                categories=[Category(**category) for category in content["categories"]],
                has_masks=content["has_masks"],
                shards=[Shard.from_plain(shard) for shard in content["shards"]],
                report=content["report"],
                proposals=ProposalOrigin(**content["proposals"]) if "proposals" in content else None,
                is_federated=content.get("is_federated", False),
                skeleton=Skeleton(**content["skeleton"]) if "skeleton" in content else None,
                pixels=PixelFormat.from_plain(content["pixels"]) if "pixels" in content else RGB,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{source}: not an index of packed shards ({error!r}); make one with `lightning-rcnn pack`"
            ) from error
        if content["fingerprint"] != index.fingerprint:
            raise InputError(
                f"{source}: the index was changed by hand (its fingerprint does not fit); pack the data set again"
            )
        return index

    def write(self, folder: Path) -> None:
        """Write `index.json` into `folder`."""
        with atomic_write(folder / INDEX_NAME) as file:
            file.write(self.to_json().encode())


def is_packed(folder: Path) -> bool:
    """Tell whether a folder has an index of packed shards, of any version; `index.json` is a name of many things."""
    try:
        with (folder / INDEX_NAME).open("rb") as file:
            return _INDEX_BEGINNING.match(file.read(256)) is not None
    except OSError:
        return False


def pixel_difference(first: ShardIndex, second: ShardIndex) -> str:
    """Describe how the channels or the types of two data sets differ; empty if they do not."""
    if first.pixels.layout == second.pixels.layout and first.pixels.is_rgb == second.pixels.is_rgb:
        return ""
    return f"{first.name} has {first.pixels.describe()}, {second.name} has {second.pixels.describe()}"
