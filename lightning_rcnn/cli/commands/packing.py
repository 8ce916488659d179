"""What the commands of `pack` share: the chosen classes, pairs in options, and packing what was found."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_rcnn.data.pack.any_format import FoundData, set_name
from lightning_rcnn.data.pack.class_choice import read_choice, with_targets
from lightning_rcnn.data.pack.source import Source
from lightning_rcnn.data.pack.write_splits import write_splits
from lightning_rcnn.errors import InputError


def chosen_names(classes: str | None) -> list[str] | None:
    """Return the classes of the data set that `--classes` names."""
    return read_choice(classes).names if classes else None


def chosen_source(source: Source, classes: str | None) -> Source:
    """Return the source with the classes under the names that `--classes` gives them."""
    return with_targets(source, read_choice(classes)) if classes else source


def chosen(found: FoundData, classes: str | None) -> FoundData:
    """Return the data set with the classes under the names that `--classes` gives them."""
    return found._replace(sources={split: chosen_source(each, classes) for split, each in found.sources.items()})


def write_found(
    found: FoundData,
    path: Path,
    out: Path | None,
    name: str | None,
    shard_size: int,
    workers: int | None,
    strict: bool,
    max_loss: float,
    overwrite: bool,
) -> None:
    """Say what was found, and pack it; the parameters are those of the commands."""
    console = Console()
    console.print(escape(found.title), soft_wrap=True, highlight=False)
    folder = out or Path("shards") / set_name(path)
    write_splits(
        found.sources,
        folder,
        name=name,
        shard_size=shard_size,
        workers=workers,
        strict=strict,
        max_loss=max_loss,
        overwrite=overwrite,
        console=console,
    )
    folders = ", ".join(str(folder / split) for split in found.sources)
    console.print(escape(f"packed into {folders}"), soft_wrap=True, highlight=False)


def read_pairs(text: str | None, option: str, keys: Sequence[str] = ()) -> dict[str, str]:
    """Read KEY=VALUE,KEY=VALUE; with keys, only they may occur."""
    pairs = {}
    for part in text.split(",") if text else ():
        key, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not value or (keys and key not in keys):
            among = f", with a KEY among {', '.join(keys)}" if keys else ""
            raise InputError(f"{option} {part}: give KEY=NAME,KEY=NAME{among}")
        pairs[key] = value
    return pairs
