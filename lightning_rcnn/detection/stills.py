"""Images of different origins, each of which reads its own bytes, in a worker."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from lightning_rcnn.data.decode import UndecodableImage
from lightning_rcnn.data.decode_in_format import decode_in_format
from lightning_rcnn.data.fetch import FetchPolicy, fetch_bytes
from lightning_rcnn.data.image_files import shown_path
from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.reader import ShardReader, UnreadableRecordError
from lightning_rcnn.errors import InputError

_SHOWN_SUFFIXES = (".jpg", ".jpeg", ".png")
_POLICY = FetchPolicy(attempts=3)


class UnreadableImage(Exception):  # noqa: N818 - says what the image is
    """Raised when an image cannot be read or decoded; the message is the reason."""


class Pixels(NamedTuple):
    """An image.

    Attributes:
        pixels: [C, h, w] of the requested pixel format, 0 to 255.
        name: name in the results.
        drawn: relative path of a drawn image.
    """

    pixels: Tensor
    name: str
    drawn: Path


class Still(Protocol):
    """An image that can be read."""

    @property
    def key(self) -> str:
        """Name under which a second call knows the image again."""

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
        name: unique relative path, for a file derived from it.
    """

    path: Path
    name: Path

    @property
    def key(self) -> str:
        """Path of the file as given."""
        return shown_path(self.path)

    def read(self, pixels: PixelFormat = RGB) -> Pixels:
        """Read the file; see `Still.read`."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise UnreadableImage(str(error)) from error
        return Pixels(_decode(data, pixels), self.key, _shown_name(self.name))


@dataclass(frozen=True)
class RemoteImage:
    """An image at a URL.

    Args:
        address: URL.
        name: relative path for a file derived from it.
    """

    address: str
    name: Path

    @property
    def key(self) -> str:
        """The URL."""
        return self.address

    def read(self, pixels: PixelFormat = RGB) -> Pixels:
        """Fetch the image; see `Still.read`."""
        try:
            data = fetch_bytes(self.address, _POLICY)
        except InputError as error:
            raise UnreadableImage(str(error)) from error
        return Pixels(_decode(data, pixels), self.address, self.name)


@dataclass(frozen=True)
class ShardImage:
    """A sample of packed shards.

    Args:
        reader: reader of the shards.
        number: number of the sample.
    """

    reader: ShardReader
    number: int

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
        decoded = _decode(raw.image, pixels, bool(raw.content.get("apply_exif", True)))
        return Pixels(decoded, name, _shown_name(Path(*[step for step in Path(name).parts if step not in ("/", "..")])))


def _decode(data: bytes, pixels: PixelFormat, apply_exif: bool = True) -> Tensor:
    try:
        return decode_in_format(data, pixels, apply_exif=apply_exif).pixels
    except UndecodableImage as error:
        raise UnreadableImage(str(error)) from error


def _shown_name(name: Path) -> Path:
    """Return the name of a drawn image, with the suffix of a format that every program shows."""
    return name if name.suffix.lower() in _SHOWN_SUFFIXES else name.with_name(f"{name.name}.jpg")
