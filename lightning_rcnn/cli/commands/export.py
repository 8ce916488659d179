"""`lightning-rcnn export`: a trained detector as a file that runs without this package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_rcnn.cli.option_checks import require_at_least, require_device
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.data.decode import UndecodableImage
from lightning_rcnn.data.decode_in_format import decode_in_format
from lightning_rcnn.data.image_files import find_images, shown_path
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.errors import InputError
from lightning_rcnn.export.check import MOST_IMAGES, Comparison, Tolerance
from lightning_rcnn.export.exporting import FormatName, choose_format, export_detector
from lightning_rcnn.progress import at_work


def export(
    checkpoint: str,
    out: Path,
    format: FormatName | None = None,
    images: Sequence[Path] = (),
    threshold: float | None = None,
    detections: int | None = None,
    half: bool = False,
    device: Literal["cpu", "cuda"] = "cpu",
    overwrite: bool = False,
) -> None:
    """Export a detector to a file that runs without this package.

    The file takes resized images of any number and size, and returns detections in the pixels of the original images.
    It holds class names, the rule of resizing, and versions. Before it gets its name it is run on images and compared
    with the checkpoint.

    Args:
        checkpoint: checkpoint that `fit` or `convert` wrote, or its URL.
        out: file to write.
        format: pt2 (torch.export, for torch and torchvision), onnx (opset 18, for ONNX Runtime and others), or aoti
            (compiled, for this kind of processor or GPU); by default that of the suffix of --out, .pt2 or .onnx.
        images: image files, and folders to search for them, to compare on; the first eight are used. Without any,
            generated scenes.
        threshold: lowest score of a detection, 0 to 1; by default the one of the checkpoint.
        detections: most detections of an image; by default that of the checkpoint.
        half: store weights as float16, for a file of half the size; it computes in float32.
        device: device that a pt2 or aoti file is for.
        overwrite: replace an existing file.
    """
    choose_format(out, format)
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--threshold {threshold}: a score is from 0 to 1")
    if detections is not None:
        require_at_least(1, detections=detections)
    require_file(out, "--out")
    if out.exists() and not overwrite:
        raise InputError(f"{out}: is there already; give another --out, or --overwrite")
    detector = load_detector(checkpoint).to(require_device(device))
    pixels = _read(images, detector.pixels)
    console = Console()
    try:
        with at_work("Exporting", console):
            comparisons = export_detector(
                detector, out, format, pixels, threshold, detections, half, lambda rows: console.print(_table(rows))
            )
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror or error})") from error
    except InputError as error:
        raise InputError(f"{checkpoint}: {error}") from error
    print(f"The same detections as {checkpoint}{', its weights rounded to float16' if half else ''}: {out}")
    if not sum(row.detections for row in comparisons):
        print("None was found to compare: give --images with objects, or a lower --threshold.")


def _read(sources: Sequence[Path], format: PixelFormat) -> list[Tensor]:
    if not sources:
        return []
    pixels = []
    for file in find_images(sources).images[:MOST_IMAGES]:
        try:
            pixels.append(decode_in_format(file.path.read_bytes(), format, apply_exif=True).pixels)
        except (OSError, UndecodableImage) as error:
            raise InputError(f"{shown_path(file.path)}: cannot be read ({error})") from error
    return pixels


def _table(rows: Sequence[Comparison]) -> Table:
    limits = Tolerance()
    # Narrow enough for 80 columns with a batch of "4 x 1344 x 1344".
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("N x h x w", "found", "unmatched", "boxes, px", "scores", "masks", "keypoints, px"):
        table.add_column(heading, justify="right")
    for row in rows:
        differences = (f"{value:.1e}" for value in (row.boxes, row.scores, row.masks, row.keypoints))
        table.add_row(" x ".join(map(str, row.shape)), str(row.detections), str(row.unmatched), *differences)
    table.add_section()
    table.add_row("allowed", "", "0", *(f"{limit:.0e}" for limit in limits))
    return table
