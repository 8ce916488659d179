"""The options `--tile`, `--overlap` and `--tta` of validations."""

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.tiles_and_views import OVERLAP, TilesAndViews
from lightning_rcnn.errors import InputError

_WITHOUT = ("predict", "show")


def add_tiles_and_views(parser: LightningArgumentParser) -> None:
    """Add the options to the parser of a command."""
    tile = "Side in pixels of the tiles that validations cut larger images into; by default none."
    parser.add_argument("--tile", type=int | None, default=None, help=tile)
    parser.add_argument("--overlap", type=float, default=OVERLAP, help="Share of a tile that its neighbors show, too.")
    tta = (
        "Test-time augmentations of validations: flip, vertical_flip, scales; several with commas, such as flip,scales."
    )
    parser.add_argument("--tta", type=str, default="", help=tta)


def given_tiles_and_views(config: Namespace, command: str, detector: Detector) -> TilesAndViews:
    """Return the tiles and views that the options ask for.

    Raises:
        InputError: a value is out of range; or the command or the detector can do neither.
    """
    given: dict[str, Any] = {name: config[name] for name in ("tile", "overlap", "tta")}
    try:
        options = TilesAndViews(**given)
    except InputError as error:
        raise InputError(f"--{error}") from error
    if options.is_plain:
        return options
    option = "--tta" if options.tile is None else "--tile"
    if command in _WITHOUT:
        raise InputError(f"{option}: `{command}` runs the network once; use `detect`, which takes shards, too")
    if detector.skeleton is not None:
        raise InputError(f"{option}: keypoints of tiles and views are not merged; leave it out")
    if detector.proposal_limit:
        raise InputError(
            f"{option}: {type(detector).__name__} is scored with stored proposals, which are those of whole images; "
            "leave it out"
        )
    return options
