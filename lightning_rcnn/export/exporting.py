"""Export of a detector to a file that appears only when it has passed its check."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, get_args

from torch import Tensor
from torch.export import ExportedProgram

from lightning_rcnn.errors import InputError, require_extra
from lightning_rcnn.export import aoti, onnx, pt2
from lightning_rcnn.export.check import Comparison, Tolerance, compare, draw_scenes, require_equal
from lightning_rcnn.export.half import with_half_weights
from lightning_rcnn.export.metadata import describe
from lightning_rcnn.export.operators import OPERATORS, Operators
from lightning_rcnn.export.program import Exportable, Runner, limited, trace
from lightning_rcnn.files import atomic_write

FormatName = Literal["pt2", "onnx", "aoti"]
"""`torch.export`'s archive, ONNX, or a library compiled by AOTInductor."""
Report = Callable[[Sequence[Comparison]], None]


class Format(NamedTuple):
    """A file format.

    Attributes:
        write: function that writes a program with its metadata.
        open: function that opens the file; it returns what runs it, and the metadata.
        operators: replacements of our operators in the graph; the format translates those without one itself.
        packages: packages of the extra "export" that it needs.
    """

    write: Callable[[ExportedProgram, str, BinaryIO], None]
    open: Callable[[Path], tuple[Runner, str]]
    operators: Operators = OPERATORS
    packages: Collection[str] = ()


FORMATS: dict[FormatName, Format] = {
    "pt2": Format(pt2.write_pt2, pt2.open_pt2),
    "onnx": Format(onnx.write_onnx, onnx.open_onnx, onnx.OPERATORS, ("onnx", "onnxscript", "onnxruntime")),
    "aoti": Format(aoti.write_aoti, aoti.open_aoti),
}


def export_detector(
    detector: Exportable,
    path: Path,
    format: FormatName | None = None,
    images: Sequence[Tensor] = (),
    threshold: float | None = None,
    detections: int | None = None,
    half: bool = False,
    report: Report = lambda comparisons: None,
) -> list[Comparison]:
    """Export a detector, and compare the file with it before the file gets its name.

    Args:
        detector: the detector; its mode and settings are restored.
        path: file to write.
        format: format; by default that of the suffix, .pt2 or .onnx.
        images: [C, h, w] of the detector's pixel format to compare on; generated scenes if there are none.
        threshold: minimum score of detections, exclusive; the detector's own if None.
        detections: maximum number of detections per image; the detector's own if None.
        half: store weights as float16; the file is compared with the detector with its weights rounded alike.
        report: function that gets the differences, also of a file that is refused.

    Returns:
        The differences, all within the tolerance.

    Raises:
        InputError: the format is unknown or needs a package, a part cannot be exported, a weight is beyond float16, or
            the file differs from the detector. No file is written.
        OSError: the file cannot be written.
    """
    chosen = choose_format(path, format)
    tolerance = Tolerance()
    images = images or draw_scenes(detector.preprocessing.pixels)
    with limited(detector, threshold, detections):
        exported = with_half_weights(detector) if half else detector
        program = trace(exported, chosen.operators)
        with atomic_write(path) as file:
            chosen.write(program, describe(exported), file)
            file.flush()
            run, _ = chosen.open(Path(file.name))
            comparisons = compare(exported, run, images, tolerance)
            report(comparisons)
            require_equal(comparisons, tolerance)
    return comparisons


def choose_format(path: Path, format: FormatName | None) -> Format:
    """Return the format of this name, or else that of the suffix of a path.

    Raises:
        InputError: it is unknown, or needs a package that is not installed.
    """
    name = format or path.suffix.lower().removeprefix(".")
    if name not in FORMATS:
        known = ", ".join(get_args(FormatName))
        raise InputError(f"{path}: unknown format {name!r}; give --format, one of {known}, or a file *.pt2 or *.onnx")
    chosen = FORMATS[name]
    for package in chosen.packages:
        require_extra(package, "export", f"the format {name}")
    return chosen
