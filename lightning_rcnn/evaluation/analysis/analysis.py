"""The error analysis of an evaluation, as plain data.

"The threshold" is the score with the best F1 over all classes.
"""

from dataclasses import asdict, dataclass
from typing import Any

from lightning_rcnn.evaluation.analysis.thresholds import Threshold


@dataclass(frozen=True)
class ErrorCost:
    """A kind of error.

    Attributes:
        count: number of detections of any score, or of missed objects.
        ap50: gain in mean AP50 without them.
    """

    count: int
    ap50: float


@dataclass(frozen=True)
class ClassFigures:
    """A class.

    Attributes:
        name: name of the class.
        num_objects: number of scored objects.
        num_detections: number of detections of any score.
        ap50: AP50; None without objects.
        lost: mean AP50 that is lost to the class; 0 without objects.
        costs: kind of error -> gain in AP50 of the class without it.
        best: best threshold of this class alone.
        found, missed: numbers of objects with and without a true positive at the threshold.
        errors: kind of error -> number of detections at the threshold.
    """

    name: str
    num_objects: int
    num_detections: int
    ap50: float | None
    lost: float
    costs: dict[str, float]
    best: Threshold | None
    found: int
    missed: int
    errors: dict[str, int]


@dataclass(frozen=True)
class SizeFigures:
    """Number of scored objects of a size, and of those with a true positive at the threshold."""

    num_objects: int
    found: int


@dataclass(frozen=True)
class ImageFigures:
    """An image.

    Attributes:
        image_id: id in the data set.
        cost: as `verdicts.image_cost` returns.
        ap50: AP50, the mean over the classes of its objects; None without objects.
        num_objects, found: numbers of scored objects, and of those with a true positive at the threshold.
        errors: kind of error -> number of detections at the threshold.
    """

    image_id: int
    cost: float
    ap50: float | None
    num_objects: int
    found: int
    errors: dict[str, int]


@dataclass(frozen=True)
class Confusion:
    """A cell of the confusion matrix: detections at the threshold are matched to objects of any class.

    Attributes:
        actual: name of the object's class; None if there is no object.
        predicted: name of the detection's; None where the object is not found.
        count: number of pairs.
    """

    actual: str | None
    predicted: str | None
    count: int


@dataclass(frozen=True)
class CalibrationBin:
    """Detections with scores in one tenth: their number, mean score, and precision."""

    count: int
    score: float
    precision: float


@dataclass(frozen=True)
class Sweep:
    """Precision, recall and F1 over all classes by threshold; precision is None without detections."""

    scores: list[float]
    precision: list[float | None]
    recall: list[float]
    f1: list[float]


@dataclass(frozen=True)
class Analysis:
    """The errors of a detector at an IoU of .5.

    Attributes:
        result_type: "bbox" or "segm".
        num_images, num_objects, num_detections: numbers of images, scored objects and detections.
        ap50: mean AP50 over classes with objects; None without any.
        best: threshold with the best F1.
        errors: kind of error -> cost.
        classes: figures by class; the one with the largest loss first.
        sizes: COCO's name of the size -> figures.
        confusions: cells of the confusion matrix that are not 0, the largest first.
        precisions: precision at 101 recalls, mean over classes with objects.
        precisions_of_classes: class name -> precision at 101 recalls.
        calibration: bins of a tenth each.
        calibration_error: expected calibration error (ECE).
        sweep: precision, recall and F1 by threshold.
        images: figures by image, the worst first; images without any error are left out.
    """

    result_type: str
    num_images: int
    num_objects: int
    num_detections: int
    ap50: float | None
    best: Threshold | None
    errors: dict[str, ErrorCost]
    classes: list[ClassFigures]
    sizes: dict[str, SizeFigures]
    confusions: list[Confusion]
    precisions: list[float]
    precisions_of_classes: dict[str, list[float]]
    calibration: list[CalibrationBin]
    calibration_error: float
    sweep: Sweep
    images: list[ImageFigures]

    def as_dict(self) -> dict[str, Any]:
        """Return nested dictionaries and lists, for JSON."""
        return asdict(self)
