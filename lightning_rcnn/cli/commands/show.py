"""`lightning-rcnn show`: what the network gets in training, batch after batch, as images and figures."""

from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from lightning_rcnn.backbones.base import map_sizes
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.decoded_batch import rendered
from lightning_rcnn.data.plan import EMPTY_SLOT
from lightning_rcnn.data.reader import SampleReader, UnreadableRecordError
from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.progress import track
from lightning_rcnn.rpn.branch import RPN
from lightning_rcnn.rpn.matches import AnchorMatches, match_anchors
from lightning_rcnn.structures import NO_IMAGE, Batch
from lightning_rcnn.visualization import save_image, titled_sheet
from lightning_rcnn.visualization.text import MAX_NAME_LENGTH
from lightning_rcnn.visualization.training_images import draw_training_image, objects_of
from lightning_rcnn.visualization.training_statistics import TrainingStatistics, add_up, image_statistics


class _Row(NamedTuple):
    """One line of the table."""

    name: str
    frame: str
    statistics: TrainingStatistics


def show_batches(model: Detector, data: DetectionDataModule, out: Path, batches: int, epoch: int) -> None:
    """Draw the first batches of an epoch, one sheet each, and print a line of statistics for each.

    Args:
        model: detector, whose resize rule, masks, anchors and matching count; its weights do not.
        data: data module without a trainer: the batches of one device.
        out: folder for the sheets; it is made.
        batches: number of batches, at most those of an epoch.
        epoch: epoch, from 0.

    Raises:
        InputError: data are missing or do not fit.
    """
    data.resize_rule, data.mask_form, data.proposal_limit = model.resize_rule, model.mask_form, model.proposal_limit
    data.num_batches = batches
    data.setup("fit")
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    samples = loader.sampler.plan(epoch).samples
    reader: SampleReader = loader.dataset.reader  # type: ignore[attr-defined]  # a DetectionDataset
    number = min(batches, len(loader))
    console = Console()
    branch = getattr(model, "rpn", None)
    rpn = branch if isinstance(branch, RPN) else None
    model.eval()  # a backbone that has to compute its maps must not learn from it
    rows = []
    batches_of_loader = map(rendered, islice(loader, number))
    for position, batch in enumerate(track(batches_of_loader, "drawing batches", console, total=number)):
        annotated = [_annotated(reader, sample) for sample in samples[position].tolist()]
        title = f"{data.indexes['train'].name} · epoch {epoch} · batch {position} of {len(loader)}"
        path = out / f"epoch_{epoch}_batch_{position:06}.jpg"
        statistics = _draw(model, rpn, batch, annotated, title, path)
        height, width = batch.images.shape[2:]
        rows.append(_Row(str(position), f"{width}x{height}", statistics))
    total = add_up([row.statistics for row in rows])
    console.print(_table([*rows, _Row("all", "", total)]))
    for line in _findings(model, rpn, total):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    sheets = "sheet is" if number == 1 else "sheets are"
    console.print(f"{number} {sheets} in {out}.", markup=False, highlight=False, soft_wrap=True)


def _annotated(reader: SampleReader, sample: int) -> int:
    """Return the number of objects in the annotations of a sample."""
    if sample == EMPTY_SLOT:
        return 0
    try:
        return len(reader.read(sample).content["annotations"])
    except (UnreadableRecordError, KeyError):  # the loader names it
        return 0


def _draw(
    model: Detector, rpn: RPN | None, batch: Batch, annotated: list[int], title: str, path: Path
) -> TrainingStatistics:
    """Draw one batch, and count its objects and anchors."""
    matches = _matches(model, rpn, batch)
    positive_iou = 0.0 if rpn is None else rpn.settings.positive_iou
    pictures, captions, counted, labels = [], [], [], set()
    for slot, record in enumerate(batch.records):
        if record.image_id == NO_IMAGE:
            continue
        shown = objects_of(batch, slot, model.skeleton.edges if model.skeleton is not None else ())
        statistics = image_statistics(annotated[slot], shown, matches[slot], positive_iou)
        pictures.append(draw_training_image(batch, slot, shown, matches[slot], model.class_names, model.pixels))
        captions.append(_caption(record.file_name, batch.image_sizes[slot].tolist(), statistics))
        counted.append(statistics)
        labels |= set(shown.objects.labels.tolist())
    if pictures:
        height, width = batch.images.shape[2:]
        save_image(
            titled_sheet(pictures, captions, f"{title} · {width} x {height}", sorted(labels), model.class_names), path
        )
    return add_up(counted)


def _matches(model: Detector, rpn: RPN | None, batch: Batch) -> list[AnchorMatches] | list[None]:
    """Return the positive anchors of each image; None for each if the detector has no region proposal network."""
    if rpn is None:
        return [None] * len(batch.records)
    assert batch.targets is not None, "a training batch has targets"
    sizes = map_sizes(model.backbone, *batch.images.shape[2:])  # type: ignore[arg-type]
    return match_anchors(rpn, sizes, batch.inputs, batch.targets)


def _caption(file_name: str, size: list[int], statistics: TrainingStatistics) -> str:
    height, width = size
    shown = len(statistics.edges)
    is_long = len(file_name) > MAX_NAME_LENGTH
    name = f"{file_name[:15]}…{file_name[-8:]}" if is_long else file_name
    parts = [name, f"{width} x {height}", f"{shown} object{'s' * (shown != 1)}"]
    parts += [f"{statistics.lost} lost"] if statistics.lost else []
    if statistics.anchors is not None:
        positives = statistics.anchors.positives
        parts.append(f"{positives} anchor{'s' * (positives != 1)}")
        parts += [f"{statistics.anchors.without} without"] if statistics.anchors.without else []
    return " · ".join(parts)


def _table(rows: list[_Row]) -> Table:
    columns = ["batch", "frame", "images", "empty", "objects", "lost", "min\nedge"]
    if rows[-1].statistics.anchors is not None:
        columns += ["anchors\nan image", "no\nanchor", "best\nonly"]
    headers = [Column(name, justify="left" if name == "batch" else "right", no_wrap=True) for name in columns]
    # Ten columns in 80 characters, the width of a pipe.
    table = Table(*headers, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for row in rows:
        if row.name == "all":
            table.add_section()
        counts, anchors = row.statistics, row.statistics.anchors
        cells = [row.name, row.frame, f"{counts.images}", f"{counts.without_objects}", f"{len(counts.edges)}"]
        cells += [f"{counts.lost_share:.1%}", f"{min(counts.edges):.1f}" if counts.edges else "-"]
        if anchors is not None:
            mean = anchors.positives / max(1, counts.images)
            cells += [f"{mean:.1f}", f"{anchors.without}", f"{anchors.below}"]
        table.add_row(*cells)
    return table


def _findings(model: Detector, rpn: RPN | None, total: TrainingStatistics) -> list[str]:
    """Return sentences about all batches."""
    if not total.edges:
        return ["No image has an object in its frame."]
    lines = [
        f"Of {total.annotated} annotated objects {total.lost} are lost ({total.lost_share:.1%}), and "
        f"{total.without_objects} of {total.images} images have none.",
        f"Shorter edges in the network's frame: 5% below {total.edge_below(0.05):.0f} px, half below "
        f"{total.edge_below(0.5):.0f} px, 95% below {total.edge_below(0.95):.0f} px.",
    ]
    if rpn is None or total.anchors is None:
        return [*lines, f"{type(model).__name__} has no anchors: proposals come with the data."]
    sizes = ", ".join(f"{size:g}" for size in rpn.settings.anchors.sizes)
    lines.append(
        f"Anchors of {sizes} px: {total.anchors.without} of {len(total.edges)} objects have no positive anchor, and "
        f"{total.anchors.below} only their best, with an IoU below {rpn.settings.positive_iou:g}."
    )
    return lines
