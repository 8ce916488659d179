"""`lightning-rcnn inspect`: what is doubtful in packed sets, and settings that fit them."""

import json as json_module
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from lightning_rcnn.cli.option_checks import require_at_least, require_positive
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.cli.recipe_of_config import recipe_of
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.parallel import default_workers, map_in_order
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.reader import ShardReader
from lightning_rcnn.data.shards import ShardSet, read_training_shards
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write
from lightning_rcnn.inspection.collecting import InspectedSet, collect
from lightning_rcnn.inspection.facts import SampleFacts, read_facts
from lightning_rcnn.inspection.inspecting import inspect_sets
from lightning_rcnn.inspection.report.json_report import as_json
from lightning_rcnn.inspection.report.page import inspection_page
from lightning_rcnn.inspection.report.terminal import print_report
from lightning_rcnn.inspection.suggestions import MEMORIES_GB
from lightning_rcnn.plural import plural
from lightning_rcnn.progress import at_work, track

TRAIN = "train"
_NAMED = re.compile(r"([A-Za-z][\w-]*)=(.+)", re.DOTALL)
_PAGES = (".html", ".htm")
_SAMPLES_PER_TASK = 128


def inspect(
    shards: list[str],
    /,
    config: tuple[Path, ...] = (),
    out: Path | None = None,
    json: Path | None = None,
    memory: float | None = None,
    workers: int | None = None,
) -> None:
    """Look through packed sets for what is doubtful, and for settings that fit them.

    It looks at classes, sizes and shapes of boxes, boxes and images that occur twice (also in both training and
    validation data), labels that are probably wrong, images without objects or nearly so, and at how anchors and sizes
    fit. What is doubtful comes first. Nothing in the shards is changed.

    Args:
        shards: packed folders, shards or URLs, each a set of its own; train=DIR and val=DIR give them names, and
            several of one name are one set. The training set is the one called train, else the first.
        config: configuration of fit, whose sizes, anchors and limits are looked at; several are merged. By default
            those of Faster R-CNN.
        out: page for the browser to write, a single HTML file with pictures.
        json: file to write findings and figures to, for programs.
        memory: memory of the device that will train, GB, to suggest a batch size for.
        workers: reading processes; by default as many as are worth starting, at most one per core.
    """
    require_positive(memory=memory)
    if workers is not None:
        require_at_least(1, workers=workers)
    for path, option in ((out, "--out"), (json, "--json")):
        if path is not None:
            require_file(path, option)
    if out is not None and out.suffix.lower() not in _PAGES:
        raise InputError(f"--out {out}: is a page for the browser, which knows it by its ending; call it {out}.html")
    named = _named_sources(shards)
    console = Console()
    opened = {name: _open(name, sources) for name, sources in named.items()}
    first = next(iter(opened))
    class_names = [category.name for category in opened[first][0].index.categories]
    with at_work("building the detector", console):
        recipe = recipe_of(config, named[first], class_names)
    sets = []
    for name, (shard_set, reader) in opened.items():
        facts = track(_facts(reader, shard_set.index.pixels, workers), f"reading {name}", console, total=len(reader))
        sets.append(_require_readable(collect(name, shard_set.index, reader, facts)))
    inspection = inspect_sets(sets, recipe, MEMORIES_GB if memory is None else (memory,), console)
    print_report(inspection, console)
    if json is not None:
        with atomic_write(json) as file:
            file.write(json_module.dumps(as_json(inspection), allow_nan=False, indent=1).encode())
        console.print(f"Findings and figures are in {json}.", markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        with at_work("drawing the page", console):
            page = inspection_page(inspection)
        with atomic_write(out) as file:
            file.write(page.encode())
        console.print(f"The page is {out}.", markup=False, highlight=False, soft_wrap=True)


def _named_sources(shards: list[str]) -> dict[str, list[str]]:
    """Return the sources of each set by its name, the training set first."""
    named: dict[str, list[str]] = {}
    for word in shards:
        match = None if Path(word).exists() else _NAMED.fullmatch(word)
        if match:
            named.setdefault(match[1], []).append(match[2])
            continue
        name = word.rstrip("/").rpartition("/")[2] or word
        if name in named:
            raise InputError(f"{word}: another set is called {name}, too; give them names, such as train=DIR val=DIR")
        named[name] = [word]
    return dict(sorted(named.items(), key=lambda pair: pair[0] != TRAIN))


def _open(name: str, sources: list[str]) -> tuple[ShardSet, ShardReader]:
    policy = FetchPolicy()
    shard_set = read_training_shards(sources, policy)
    if not len(shard_set.index):
        raise InputError(f"{name}: {', '.join(sources)} has no images; pack a set with images")
    return shard_set, ShardReader(shard_set, ShardCache(None, 100e9, policy))


def _facts(reader: ShardReader, pixels: PixelFormat, workers: int | None) -> Iterator[SampleFacts]:
    number = len(reader)
    processes = default_workers(number) if workers is None else workers
    read = partial(read_facts, reader=reader, pixels=pixels)
    return map_in_order(read, range(number), processes, _SAMPLES_PER_TASK, reader.location)


def _require_readable(one: InspectedSet) -> InspectedSet:
    if len(one.problems) == len(one):
        raise InputError(f"{one.name}: {plural(len(one), 'sample')}, none of which can be read; {one.problems[0]}")
    return one
