"""Pack a source into a data set: shards, index and report."""

from contextlib import closing
from functools import partial
from itertools import repeat
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lightning_rcnn.data.decode import pixel_limit
from lightning_rcnn.data.defects import CONVERSIONS, Defect, DefectLog, Finding
from lightning_rcnn.data.garbage import frozen_objects
from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.pack.completeness import MAX_LOSS, require_complete
from lightning_rcnn.data.pack.folder import atomic_folder
from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.pixel_survey import PixelSurvey, read_surveyed
from lightning_rcnn.data.pack.report import print_report
from lightning_rcnn.data.pack.shard_writer import ShardWriter
from lightning_rcnn.data.pack.side_by_side import read_side_by_side
from lightning_rcnn.data.pack.sound_jpeg import STRUCTURE
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
    pixels: PixelOptions = PixelOptions(),
    console: Console = SILENT,
) -> ShardIndex:
    """Pack a data set into a folder that appears when it is complete.

    The same source and options give the same bytes, with any number of workers.

    Args:
        source: result of `voc_source(...)`, `coco_source(...)` or `shapes_source(...)`.
        out: path of the folder.
        name: name of the set; by default the source's name.
        shard_size: samples per shard; the last shard has fewer.
        workers: number of images that are read at the same time; by default one per core.
        strict: whether to refuse a data set with any defect that is not just noted.
        max_loss: largest share of the images, or of the objects, that may be skipped, 0 to 1.
        overwrite: whether to replace a packed data set in `out`.
        pixels: channels and range of values to keep, and how JPEGs are checked.
        console: console for progress and report; silent by default.

    Returns:
        The index, as written.

    Raises:
        InputError: `out` cannot be written, no image is left, `strict` or `max_loss` refuses, or the images do not
            have the requested pixels.
    """
    if shard_size < 1 or (workers is not None and workers < 1):
        raise InputError(f"shard_size {shard_size} and workers {workers} must be at least 1")
    if not 0 <= max_loss <= 1:
        raise InputError(f"--max_loss {max_loss:g} is not a share; give a number from 0 to 1")
    log = DefectLog(source.log.counts.copy(), source.log.first_locations.copy())
    num_objects = source.left_out.objects
    survey = PixelSurvey(pixels)
    read = partial(read_surveyed, read=source.read, options=pixels, keeps_image=source.writes_images)
    with atomic_folder(out, overwrite=overwrite) as folder:
        # A thread that ends its own limit would end that of the others, too; inside of this one none has an effect.
        with (
            frozen_objects(),
            ShardWriter(folder, shard_size) as writer,
            pixel_limit(pixels.max_pixels),
            closing(read_side_by_side(source, read, workers, decodes=pixels.check != STRUCTURE)) as outcomes,
        ):
            for outcome, summary in track(outcomes, f"packing {source.name}", console, len(source.items)):
                log.add(outcome.findings)
                num_objects += outcome.num_objects
                if outcome.sample:
                    survey.add(summary, outcome.sample.record["file_name"])
                    writer.write(outcome.sample)
        has_masks = _has_masks(writer)
        if has_masks:
            log.add(repeat(Finding(Defect.MISSING_MASK, writer.first_without_mask), writer.num_without_mask))
        pixel_format = survey.decide(name or source.name)
        if not pixel_format.is_rgb:
            log.drop(CONVERSIONS)
        index = ShardIndex(
            name or source.name,
            source.categories,
            has_masks,
            writer.shards,
            log.report(),
            is_federated=source.is_federated,
            skeleton=source.skeleton,
            pixels=pixel_format,
        )
        print_report(console, index, log, writer.label_counts, writer.num_masks)
        if pixels.check == STRUCTURE:
            console.print(escape(f"{index.name}: JPEGs were checked by their structure alone"), highlight=False)
        _require_acceptable(index, log, strict)
        annotated = Contents(source.left_out.images + len(source.items), num_objects)
        kept = Contents(len(index), writer.label_counts.total())
        require_complete(index.name, annotated, kept, log, max_loss)
        index.write(folder)
    return index


def _has_masks(writer: ShardWriter) -> bool:
    """Return whether single objects, or else crowds, have masks; true for a set without objects."""
    if writer.num_single_masks or writer.num_without_mask:
        return writer.num_single_masks > 0
    return writer.num_masks > 0 or not writer.label_counts


def _require_acceptable(index: ShardIndex, log: DefectLog, strict: bool) -> None:
    refused = [f"{defect.label} x {count} (first: {location})" for defect, count, location in log.refused_by_strict()]
    if not len(index):
        raise InputError(
            f"{index.name}: no image is left to pack; correct: {'; '.join(refused) or 'the empty list of images'}"
        )
    if not index.categories:
        raise InputError(f"{index.name}: no object has a class; name the classes to pack images without objects")
    if strict and refused:
        raise InputError(f"{index.name}: refused by --strict, nothing was written; correct: {'; '.join(refused)}")
