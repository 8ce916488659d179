"""From a source to a packed data set: shards, the index, the report."""

from itertools import repeat
from pathlib import Path

from rich.console import Console

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.pack.completeness import MAX_LOSS, require_complete
from lightning_rcnn.data.pack.folder import appearing_folder
from lightning_rcnn.data.pack.parallel import default_workers, map_in_order
from lightning_rcnn.data.pack.report import print_report
from lightning_rcnn.data.pack.shard_writer import ShardWriter
from lightning_rcnn.data.pack.source import Contents, Source
from lightning_rcnn.errors import InputError
from lightning_rcnn.progress import track

SILENT = Console(quiet=True)


def write_shards(
    source: Source,
    out: Path,
    *,
    name: str | None = None,
    shard_size: int = 256,
    workers: int | None = None,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
    console: Console = SILENT,
) -> ShardIndex:
    """Pack a data set into a folder that appears when it is whole.

    The same source and options give the same bytes, with any number of processes.

    Args:
        source: `voc_source(...)`, `coco_source(...)` or `shapes_source(...)`.
        out: the folder.
        name: what the set is called; by default the source's name.
        shard_size: samples in a shard; the last one has fewer.
        workers: processes that read; by default as many as are worth starting, at most one a core.
        strict: refuse a data set with any defect that is more than a note.
        max_loss: the largest share of the images, or of the objects, that may be skipped.
        overwrite: replace a packed data set in `out`.
        console: where progress and report are shown; by default nowhere.

    Returns:
        The index, as written.

    Raises:
        InputError: `out` cannot be written, no image is left, or `strict` or `max_loss` refuses.
    """
    if shard_size < 1 or (workers is not None and workers < 1):
        raise InputError(f"shard_size {shard_size} and workers {workers} must be at least 1")
    if not 0 <= max_loss <= 1:
        raise InputError(f"--max_loss {max_loss:g}: a share from 0 to 1")
    log = DefectLog(source.log.counts.copy(), source.log.first_places.copy())
    workers = workers or default_workers(len(source.items))
    num_objects = source.left_out.objects
    with appearing_folder(out, overwrite=overwrite) as folder:
        with ShardWriter(folder, shard_size) as writer:
            outcomes = map_in_order(source.read, source.items, workers, name_of=source.name_of)
            for outcome in track(outcomes, f"packing {source.name}", console, len(source.items)):
                log.add(outcome.findings)
                num_objects += outcome.num_objects
                if outcome.sample:
                    writer.write(outcome.sample)
        has_masks = _has_masks(writer)
        if has_masks:
            log.add(repeat(Finding(Defect.MISSING_MASK, writer.first_without_mask), writer.num_without_mask))
        index = ShardIndex(name or source.name, source.categories, has_masks, writer.shards, log.report())
        print_report(console, index, log, writer.label_counts, writer.num_masks)
        _require_acceptable(index, log, strict)
        annotated = Contents(source.left_out.images + len(source.items), num_objects)
        kept = Contents(len(index), writer.label_counts.total())
        require_complete(index.name, annotated, kept, log, max_loss)
        index.write(folder)
    return index


def _has_masks(writer: ShardWriter) -> bool:
    """By the single objects; where there are none by the crowds; a set of no objects lacks no mask."""
    if writer.num_single_masks or writer.num_without_mask:
        return writer.num_single_masks > 0
    return writer.num_masks > 0 or not writer.label_counts


def _require_acceptable(index: ShardIndex, log: DefectLog, strict: bool) -> None:
    refused = [f"{defect.label} x {count} (first: {place})" for defect, count, place in log.refused_by_strict()]
    if not len(index):
        raise InputError(
            f"{index.name}: no image is left to pack; {'; '.join(refused) or 'the list of images is empty'}"
        )
    if strict and refused:
        raise InputError(f"{index.name}: refused by --strict, nothing was written; correct: {'; '.join(refused)}")
