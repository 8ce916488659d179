"""Analyze images while they are scored; only verdicts are kept of most of them, about 40 bytes per detection."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.analysis.analyzing import analyze
from lightning_rcnn.evaluation.analysis.verdicts import Verdicts, image_cost, judge
from lightning_rcnn.evaluation.gathering import ArraysOfImages, join_arrays, split_arrays
from lightning_rcnn.evaluation.scoring import RegionType

NUM_WORST = 24
"""Number of images that are kept whole, for the gallery."""


@dataclass
class WorstImage:
    """An image of the gallery.

    Attributes:
        image_id: id in the data set.
        cost: as `image_cost` returns.
        height, width: size in pixels.
        verdicts: verdicts on its objects and detections.
        objects, results: annotations and detections in COCO's form, in the order of `verdicts`.
        file_name: name in the data set.
        jpeg: the image as a JPEG; None if it is not available.
    """

    image_id: int
    cost: float
    height: int
    width: int
    verdicts: Verdicts
    objects: list[Mapping[str, Any]]
    results: list[Mapping[str, Any]]
    file_name: str = ""
    jpeg: bytes | None = None


class Collected(NamedTuple):
    """The part of one rank.

    Attributes:
        verdicts: verdicts of all its images.
        worst: its worst images.
        file_names: image id -> name in the data set.
    """

    verdicts: ArraysOfImages
    worst: list[WorstImage]
    file_names: dict[int, str]


class AnalysisCollector:
    """Collects verdicts image by image, and keeps the worst images.

    Args:
        result_type: "bbox" or "segm".
        max_detections: number of detections per image and class that count, best first.
    """

    def __init__(self, result_type: RegionType, max_detections: int) -> None:
        self.result_type = result_type
        self.max_detections = max_detections
        self.worst: dict[int, WorstImage] = {}
        self._file_names: dict[int, str] = {}
        self._verdicts: dict[int, Verdicts] = {}

    def add(
        self,
        image_id: int,
        height: int,
        width: int,
        objects: Sequence[Mapping[str, Any]],
        results: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add one image, or replace it.

        Args:
            image_id: id in the data set.
            height, width: size in pixels.
            objects: `category_id`, `area`, `bbox` (x, y, width, height) or `segmentation` (RLE), perhaps `iscrowd` and
                `difficult`.
            results: `category_id`, `score`, and `bbox` or `segmentation`.
        """
        verdicts, chosen = judge(objects, results, self.max_detections)
        self._verdicts[image_id] = verdicts
        cost = image_cost(verdicts)
        kept = [results[number] for number in chosen]
        self.worst[image_id] = WorstImage(image_id, cost, height, width, verdicts, list(objects), kept)
        if len(self.worst) > NUM_WORST:
            del self.worst[min(self.worst, key=lambda image_id: self.worst[image_id].cost)]

    def name(self, image_id: int, file_name: str) -> None:
        """Set the file name of an image that was added."""
        self._file_names[image_id] = file_name
        if image_id in self.worst:
            self.worst[image_id].file_name = file_name

    def state(self) -> Collected:
        """Return the part of this rank, for `analysis_of`."""
        return Collected(join_arrays(self._verdicts), list(self.worst.values()), self._file_names)


class Analyzed(NamedTuple):
    """The analysis of one result type over the images of all ranks.

    Attributes:
        analysis: the analysis.
        worst: images of the gallery, the worst first.
        file_names: image id -> name in the data set; may lack some.
    """

    analysis: Analysis
    worst: list[WorstImage]
    file_names: dict[int, str]


def analysis_of(parts: Iterable[Collected], class_names: Sequence[str], result_type: RegionType) -> Analyzed:
    """Analyze the images of all ranks.

    Args:
        parts: states of collectors, at least one. If several hold an image, the last one counts.
        class_names: names of labels 1..K.
        result_type: "bbox" or "segm".
    """
    return analyses_of(({result_type: part} for part in parts), class_names)[result_type]


def analyses_of(
    parts: Iterable[Mapping[RegionType, Collected]], class_names: Sequence[str]
) -> dict[RegionType, Analyzed]:
    """Analyze several result types of the same images, in one pass over the parts of all ranks.

    Args:
        parts: for each rank, result type -> state of its collector; at least one. If several ranks hold an image, the
            last one counts.
        class_names: names of labels 1..K.

    Returns:
        Result type -> analysis, in the order of the parts.
    """
    gathered: dict[RegionType, _Gathered] = {}
    for part in parts:
        for result_type, collected in part.items():
            gathered.setdefault(result_type, _Gathered()).add(collected)
    return {
        result_type: Analyzed(analyze(one.verdicts, class_names, result_type), one.worst, one.file_names)
        for result_type, one in gathered.items()
    }


class _Gathered:
    """What stays of the ranks' parts: of images with their pixels only the worst."""

    def __init__(self) -> None:
        self.verdicts: dict[int, Verdicts] = {}
        self.worst: list[WorstImage] = []
        self.file_names: dict[int, str] = {}

    def add(self, part: Collected) -> None:
        self.verdicts |= {image_id: Verdicts(*arrays) for image_id, arrays in split_arrays([part.verdicts]).items()}
        self.file_names |= part.file_names
        images = {image.image_id: image for image in (*self.worst, *part.worst) if image.cost > 0}
        self.worst = sorted(images.values(), key=lambda image: -image.cost)[:NUM_WORST]
