"""What the commands of `pack` share: reading the data sets at some paths, and packing them as the options say."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_rcnn.cli.commands.pack_options import PackOptions
from lightning_rcnn.data.pack.any_format import FoundData
from lightning_rcnn.data.pack.class_choice import read_choice, with_targets
from lightning_rcnn.data.pack.combine import combine, set_names
from lightning_rcnn.data.pack.division import is_shares, read_shares
from lightning_rcnn.data.pack.smaller import with_max_edge
from lightning_rcnn.data.pack.source import Source
from lightning_rcnn.data.pack.split_sources import choose_split, divide_sets
from lightning_rcnn.data.pack.write_splits import write_splits
from lightning_rcnn.errors import InputError

Read = Callable[[Path, list[str] | None], FoundData]
"""Function from a path and the chosen classes to the data set there."""


def pack_paths(paths: Path | Sequence[Path], options: PackOptions, read: Read) -> None:
    """Pack the data sets at some paths into one.

    Args:
        paths: one path, as from Python, or some.
        options: options of the command.
        read: function that reads one of them; of several, the classes are chosen when they are united.

    Raises:
        InputError: a data set or an option is refused; nothing is written.
    """
    listed = [paths] if isinstance(paths, Path) else list(paths)
    names = set_names(listed)
    classes = chosen_names(options) if len(listed) == 1 else None
    pack_found([read(path, classes) for path in listed], names, options)


def pack_found(found: Sequence[FoundData], names: Sequence[str], options: PackOptions) -> None:
    """Say what was found, choose and divide as the options say, and pack it.

    Args:
        found: data sets.
        names: their names, all different.
        options: options of the command.

    Raises:
        InputError: a data set or an option is refused; nothing is written.
    """
    console = Console()
    for title in filter(None, (each.title for each in found)):
        console.print(escape(title), soft_wrap=True, highlight=False)
    sets = [dict(each.sources) for each in found]
    if options.split is not None and is_shares(options.split):
        sets, summary = divide_sets(sets, read_shares(options.split), options.seed, options.group_by)
        console.print(escape(summary), soft_wrap=True, highlight=False)
    elif options.split is not None:
        sets = [choose_split(splits, options.split, name) for splits, name in zip(sets, names, strict=True)]
    joined = "+".join(names)
    splits = combine(sets, names, options.name or joined) if len(sets) > 1 else sets[0]
    splits = {split: _chosen(source, options) for split, source in splits.items()}
    folder = options.out or Path("shards") / joined.replace("/", "_")
    write_splits(
        splits,
        folder,
        name=options.name,
        shard_size=options.shard_size,
        workers=options.workers,
        strict=options.strict,
        max_loss=options.max_loss,
        overwrite=options.overwrite,
        pixels=options.pixels,
        console=console,
    )
    folders = ", ".join(str(folder / split) for split in splits)
    console.print(escape(f"packed into {folders}"), soft_wrap=True, highlight=False)


def chosen_names(options: PackOptions) -> list[str] | None:
    """Return the classes of the data set that `--classes` requests; None for all."""
    return None if options.classes is None else read_choice(options.classes).requested


def _chosen(source: Source, options: PackOptions) -> Source:
    if options.classes is not None:
        source = with_targets(source, read_choice(options.classes))
    return with_max_edge(source, options.max_edge, options.quality, options.max_short_edge)


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
