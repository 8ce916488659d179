"""Images of different origins, each of which reads its own bytes, in a worker."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from lightning_rcnn.data.decode import UndecodableImage, at_least_pixels
from lightning_rcnn.data.decode_in_format import decode_in_format
from lightning_rcnn.data.decoded_image import DecodedImage
from lightning_rcnn.data.fetch import FetchPolicy, fetch_bytes
from lightning_rcnn.data.image_files import shown_path
from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.reader import ShardReader, UnreadableRecordError
from lightning_rcnn.errors import InputError

_NAME_BYTES = 220
"""Bytes of a name; file systems take 255, of which a partial file and a number need some."""
_JPEG = (".jpg", ".jpeg")
_OF_LONG = ".png"
"""Suffix of images of any length."""
_POLICY = FetchPolicy(attempts=3)


class UnreadableImage(Exception):  # noqa: N818 - says what the image is
    """Raised when an image cannot be read or decoded; the message is the reason."""


class Pixels(NamedTuple):
    """An image.

    Attributes:
        pixels: [C, h, w] of the requested pixel format, 0 to 255.
        name: name in the results.
        drawn: relative path of a drawn image.
        damage: what is wrong with a file that decodes nevertheless; empty if nothing.
    """

    pixels: Tensor
    name: str
    drawn: Path
    damage: str


class Still(Protocol):
    """An image that can be read."""

    @property
    def drawn(self) -> Path:
        """Relative path of a drawn image, or of a folder for it."""

    @property
    def key(self) -> str:
        """Name under which a second call knows the image again."""

    @property
    def owner(self) -> str:
        """Name of what owns the path `drawn`; see `DrawnPaths`."""

    def read(self, pixels: PixelFormat = RGB) -> Pixels:
        """Read and decode the image.

        Args:
            pixels: format of the result.

        Raises:
            UnreadableImage: it cannot be read.
        """


@dataclass(frozen=True)
class FileImage:
    """A local image file.

    Args:
        path: path of the file.
        drawn: relative path of a drawn image.
    """

    path: Path
    drawn: Path

    @property
    def key(self) -> str:
        """Path of the file as given."""
        return shown_path(self.path)

    @property
    def owner(self) -> str:
        """Path of the file as given."""
        return self.key

    def read(self, pixels: PixelFormat = RGB) -> Pixels:
        """Read the file; see `Still.read`."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise UnreadableImage(str(error)) from error
        decoded = _decode(data, pixels)
        return Pixels(decoded.pixels, self.key, self.drawn, decoded.damage)


@dataclass(frozen=True)
class RemoteImage:
    """An image at a URL.

    Args:
        address: URL.
        drawn: relative path of a drawn image.
    """

    address: str
    drawn: Path

    @property
    def key(self) -> str:
        """The URL."""
        return self.address

    @property
    def owner(self) -> str:
        """The URL."""
        return self.address

    def read(self, pixels: PixelFormat = RGB) -> Pixels:
        """Fetch the image; see `Still.read`."""
        try:
            data = fetch_bytes(self.address, _POLICY)
        except InputError as error:
            raise UnreadableImage(str(error).removeprefix(f"{self.address}: ")) from error
        decoded = _decode(data, pixels)
        return Pixels(decoded.pixels, self.address, self.drawn, decoded.damage)


@dataclass(frozen=True)
class ShardImage:
    """A sample of packed shards.

    Args:
        reader: reader of the shards.
        number: number of the sample.
        drawn: relative path of the folder for drawn images.
        owner: address of the set, which owns that folder; see `set_of`.
    """

    reader: ShardReader
    number: int
    drawn: Path
    owner: str

    @property
    def key(self) -> str:
        """Shard and key."""
        return self.reader.location(self.number)

    def read(self, pixels: PixelFormat = RGB) -> Pixels:
        """Read the sample; see `Still.read`."""
        try:
            raw = self.reader.read(self.number)
        except (UnreadableRecordError, InputError) as error:
            raise UnreadableImage(str(error)) from error
        name = str(raw.content["file_name"])
        with at_least_pixels(raw.content["width"] * raw.content["height"]):  # which was packed
            decoded = _decode(raw.image, pixels, bool(raw.content.get("apply_exif", True)))
        steps = [step for step in Path(name).parts if step not in ("/", "..")]
        path = shown_name(Path(*steps or ["image"]))
        # Samples of a set may have one name, such as the images of two cameras.
        drawn = self.drawn / path.with_stem(f"{path.stem}-{raw.content['image_id']}")
        return Pixels(decoded.pixels, name, drawn, decoded.damage)


def set_of(location: str) -> str:
    """Return the address of the set in which a sample lies.

    Args:
        location: shard and key, as `ShardReader.location` gives them.
    """
    return location.rpartition(", key ")[0].rpartition("/")[0]


def _decode(data: bytes, pixels: PixelFormat, apply_exif: bool = True) -> DecodedImage:
    try:
        return decode_in_format(data, pixels, apply_exif=apply_exif)
    except UndecodableImage as error:
        raise UnreadableImage(str(error)) from error


def shown_name(name: Path, suffixes: Sequence[str] = (*_JPEG, _OF_LONG)) -> Path:
    """Return the relative path of a drawn image or video.

    No path is `x.jpg.png`, which is that of a drawing `x.jpg` too long for a JPEG; see `path_of_long`.

    Args:
        name: relative path of the image or video.
        suffixes: suffixes that every program shows; others get the first of them.

    Returns:
        The path, its parts cut to a length that file systems take.
    """
    suffix = name.suffix if name.suffix.lower() in suffixes else suffixes[0]
    stem = _cut(name.name.removesuffix(suffix))
    if suffix.lower() == _OF_LONG and Path(stem).suffix.lower() in _JPEG:
        suffix += _JPEG[0]
    return Path(*map(_cut, name.parts[:-1]), f"{stem}{suffix}")


def path_of_long(path: Path) -> Path:
    """Return the path of a drawn image that is too long for a JPEG."""
    return path if path.suffix.lower() == _OF_LONG else path.with_name(f"{path.name}{_OF_LONG}")


def _cut(name: str) -> str:
    """Return at most `_NAME_BYTES` of a name, in whole letters."""
    while len(os.fsencode(name)) > _NAME_BYTES:
        name = name[:-1]
    return name
