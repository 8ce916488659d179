"""The options that every command of `pack` has, described once."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import docstring_parser

from lightning_rcnn.data.pack.completeness import MAX_LOSS
from lightning_rcnn.data.pack.division import is_shares, read_shares
from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.smaller import check_max_edge
from lightning_rcnn.data.pack.sound_jpeg import FULL, STRUCTURE, JpegCheck
from lightning_rcnn.errors import InputError


@dataclass(frozen=True)
class PackOptions:
    """What to pack, how to divide it, and how to write it.

    Attributes:
        out: folder for shards and index, or for OUT/train, OUT/val and so on; it appears when it is whole. By default
            shards/NAME, where NAME is the name of the path.
        classes: class names, separated by commas; label i is the i-th, objects of other classes are left out.
            "person;car,truck=vehicle" makes one class of car and truck. By default all, in the order of the data set's
            own list, or else sorted.
        split: shares of train, val and perhaps test, such as 0.8,0.1,0.1, to divide a set that has no splits; or the
            name of one of its own splits, to pack only that.
        seed: seed of the division into splits; the same seed divides the same images alike on any machine.
        group_by: which images stay in one split: those whose names begin alike (prefix), in one folder (folder), with
            one value in the column group of a CSV file (column), or with one match of a regular expression in their
            names, of its first group if it has one; none keeps nothing together. By default column where there is one,
            or else prefix.
        max_edge: longest edge of an image in pixels; larger images are packed smaller, boxes and masks with them, the
            others unchanged.
        max_short_edge: largest shorter edge, beside --max_edge: with a detector's min_size and max_size, such as 800
            and 1333, larger images get just the size that it works on, and training only decodes them.
        quality: JPEG quality of the images that --max_edge makes smaller, 1 to 100; by default 90.
        channels: auto keeps what the images have, such as 12 channels, 16 bits or floats, if all are alike, and makes
            RGB of 8 bits of gray, color and mixed images; rgb does so with all images; a number, such as 4 for color
            with transparency as a channel, or 1 for gray images, is required of all.
        range: values that become black and white where more than 8 bits or other channels are kept. auto is 0 to the
            largest value of so many bits (0 to 4095 for 12 bits in 16), of floats 0 to 1 or else the smallest and
            largest value of each channel; full is that of the type, of floats 0 to 1; percentile is the 0.5th to 99.5th
            of each channel; or two numbers, such as 0,4095.
        bands: one or three channels, from 1, that pictures show as gray or as red, green and blue, such as 4,3,2; by
            default the first three, or of fewer channels the first.
        max_pixels: largest number of pixels of an image; by default 178956970, Pillow's protection from files that are
            small and become huge. Training reads what was packed.
        check: full reads all bits of each image, so that no damaged one reaches a training. structure looks at JPEGs
            only for headers, markers and the end, which takes a twentieth of the time: files that are cut off or no
            images are found, but not changed or missing pieces inside; training leaves such images out, or uses what
            they decode to, and names them.
        name: name of the data set; by default that of the path.
        shard_size: samples per shard.
        workers: images that are read and checked at the same time, whatever their number the shards are the same; by
            default one per core, of sets with masks as many processes as are worth starting.
        strict: refuse the data set if anything has to be repaired or skipped.
        max_loss: refuse the data set if a larger share of its images, or of its objects, has to be skipped. Sound sets
            lose less than 0.01; names, sizes or classes that do not fit lose far more than 0.05. 1 refuses nothing.
        overwrite: replace a packed data set in out; a folder with other files in it is refused.
    """

    out: Path | None = None
    classes: str | None = None
    split: str | None = None
    seed: int = 0
    group_by: str | None = None
    max_edge: int | None = None
    max_short_edge: int | None = None
    quality: int | None = None
    channels: str = "auto"
    range: str = "auto"
    bands: str | None = None
    max_pixels: int | None = None
    check: JpegCheck = FULL
    name: str | None = None
    shard_size: int = 256
    workers: int | None = None
    strict: bool = False
    max_loss: float = MAX_LOSS
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no sense before any file is read.

        Raises:
            InputError: a value is impossible, or an option has nothing to act on.
        """
        check_max_edge(self.max_edge, self.quality, self.max_short_edge)
        self.pixels  # noqa: B018 - checks them
        if self.check == STRUCTURE and self.max_edge is not None:
            raise InputError("--check structure: --max_edge reads the pixels all the same; leave out one of them")
        divides = self.split is not None and is_shares(self.split)
        if self.split is not None and divides:
            read_shares(self.split)
        if self.group_by is not None and not divides:
            raise InputError(f"--group_by {self.group_by}: only shares divide a set; add --split 0.8,0.1,0.1")

    @property
    def pixels(self) -> PixelOptions:
        """The options for channels, range and check."""
        return PixelOptions(self.channels, self.range, self.bands, self.max_pixels, self.check)


def pack_command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options as parameters of its own, with their descriptions.

    A parameter of the command that has the name of an option takes its place, and the option gets its value.

    Args:
        function: command with a parameter `options`.
    """
    parameters = inspect.signature(function).parameters
    own = [parameter for name, parameter in parameters.items() if name != "options"]
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=field.default, annotation=field.type
        )
        for field in fields(PackOptions)
        if field.name not in parameters
    ]
    required = [parameter for parameter in own if parameter.default is inspect.Parameter.empty]
    optional = [parameter for parameter in own if parameter.default is not inspect.Parameter.empty]
    signature = inspect.Signature([*required, *optional, *shared], return_annotation=None)
    names = [field.name for field in fields(PackOptions)]

    def command(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = bound.arguments
        options = PackOptions(**{name: values[name] for name in names})
        positional = [values[each.name] for each in own if each.kind is inspect.Parameter.POSITIONAL_ONLY]
        keywords = {each.name: values[each.name] for each in own if each.kind is not inspect.Parameter.POSITIONAL_ONLY}
        function(*positional, **keywords, options=options)

    command.__name__ = command.__qualname__ = function.__name__
    command.__module__ = function.__module__
    command.__doc__ = _document(function, signature)
    command.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()} | {"return": None}
    setattr(command, "__signature__", signature)  # noqa: B010  # a function does not declare it
    return command


def _document(function: Callable[..., None], signature: inspect.Signature) -> str:
    """Return the docstring of a command with the shared descriptions of the parameters that it does not describe."""
    documentation = docstring_parser.parse(function.__doc__ or "")
    described = {
        each.arg_name: each.description or "" for each in docstring_parser.parse(PackOptions.__doc__ or "").params
    }
    described |= {each.arg_name: each.description or "" for each in documentation.params}
    lines = [" ".join(f"    {name}: {described[name]}".split("\n")) for name in signature.parameters]
    heading = [documentation.short_description or "", documentation.long_description or ""]
    return "\n\n".join([*filter(None, heading), "Args:\n" + "\n".join(lines)])
