"""COCO average precision: its matching, summarized for any number of detections an image; LVIS's for federated sets.

Source: Lin et al., Microsoft COCO, arXiv 1405.0312, and cocodataset.org/#detection-eval; for LVIS see `federated.py`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from torchmetrics import Metric

from lightning_rcnn.data.index import FREQUENCIES
from lightning_rcnn.evaluation.coco_entries import annotations_of, as_object, as_result, results_of
from lightning_rcnn.evaluation.federated import Federation, judged_results
from lightning_rcnn.evaluation.gathering import score_on_rank_zero
from lightning_rcnn.evaluation.scoring import Curves, ResultType, Scoring, curves_of
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.structures import NO_IMAGE, Detections, ImageRecord, LabelLists

AREAS = {"all": "", "small": "s", "medium": "m", "large": "l"}
"""COCO's names of areas -> suffix of the figure: up to 32 x 32 pixels, up to 96 x 96, beyond."""
PER_CLASS = "per_class"
"""Where the AP of each class stands beside the COCO figures."""
MAX_DETECTIONS = "max_detections"
"""Where it stands how many detections of an image count, COCO's maxDets."""
COCO, LVIS = "COCO", "LVIS"
RULES = "rules"
"""Where it stands by whose rules the figures are, one of these two."""
SETTINGS = (MAX_DETECTIONS, RULES)
"""What stands beside the figures and is none."""


class ImageObserver(Protocol):
    """A collector that gets each image while it is scored."""

    def add(
        self, image_id: int, height: int, width: int, objects: list[dict[str, Any]], results: list[dict[str, Any]]
    ) -> None:
        """Add one image; `coco_entries` describes the form."""


class CocoAveragePrecision(Metric):
    """The twelve figures of the COCO API, LVIS's thirteen, or eight of keypoints, and the AP of each class.

    Images are matched as they come, on the host. Under DDP rank 0 scores once, with scores and verdicts of all ranks.
    Ranks may hold different numbers of images, or none, and an image that two ranks hold counts once.

    An object without a usable mask is not known well enough to be scored by masks: there its box is filled instead, and
    ignored, so that it is not missed, and what is detected there is not false.

    Args:
        class_names: foreground classes 1..K.
        result_type: "bbox", "segm" for masks, or "keypoints".
        max_detections: D, the most detections of an image that count.
        mask_paste: how masks of detections come into their image; see `masks/paste.py`.
        federation: what is known of a federated set, which is scored by LVIS's rules; None for any other.
        oks_sigmas: for keypoints, the standard deviation of each; see `KeypointRCNN`.

    Attributes:
        observers: collectors that get each image in the form in which it is scored, so that masks are pasted once; of a
            federated set only the detections that can be judged.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(
        self,
        class_names: Sequence[str],
        result_type: ResultType = "bbox",
        max_detections: int = 100,
        mask_paste: PasteRule = "exact",
        federation: Federation | None = None,
        oks_sigmas: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.class_names = list(class_names)
        self.result_type = result_type
        self.max_detections = max_detections
        self.mask_paste = mask_paste
        self.federation = federation
        self.oks_sigmas = list(oks_sigmas)
        self.observers: list[ImageObserver] = []
        self._scoring = self._nothing()

    def update(self, detections: Detections, records: Sequence[ImageRecord]) -> None:
        """Add a batch.

        Args:
            detections: in the original frame; with masks, where these are scored.
            records: with annotations in the original frame; slots without an image are skipped.
        """
        for slot, record in enumerate(records):
            if record.image_id != NO_IMAGE:
                results = results_of(detections, slot, record, self.result_type, self.mask_paste)
                self.add_image(
                    record.image_id, record.height, record.width, annotations_of(record), results, record.label_lists
                )

    def add_image(
        self,
        image_id: int,
        height: int,
        width: int,
        annotations: list[dict[str, Any]],
        results: list[dict[str, Any]],
        lists: LabelLists | None = None,
    ) -> None:
        """Add one image in COCO's own form.

        Args:
            image_id: of the data set.
            height, width: pixels.
            annotations: `category_id` 1..K, `bbox` (x, y, width, height), perhaps `area`, `iscrowd`, `difficult` and
                `segmentation`: polygons or compressed RLE.
            results: `category_id`, `score`, and `bbox` or `segmentation`: compressed RLE.
            lists: lists of an image of a federated set; without any it was looked through for its objects' classes.
        """
        lists = lists or LabelLists()
        objects = [as_object(entry, height, width, self.result_type) for entry in annotations]
        scored = [as_result(entry, self.result_type) for entry in results]
        if self.federation is not None:
            scored = judged_results(scored, objects, lists, self.max_detections)
        self._scoring.add(image_id, objects, scored, *lists)
        for observer in self.observers:
            observer.add(image_id, height, width, objects, scored)
        # What `Metric` does around `update`: count, and drop the figures of the last `compute`.
        self._update_count += 1
        self._computed = None

    def compute(self) -> dict[str, Any]:
        """The figures as COCO names them, from `AP`, `AP50`, `AP75`, `APs` to `ARl`, and `per_class` by name.

        A federated set has no `AR1` and `AR10`, and has `APr`, `APc` and `APf`, over rare, common and frequent classes,
        if it states their groups.

        A figure without any ground truth to it is NaN (the COCO API has -1). All are over `max_detections`, which
        stands beside them; where it is not 100, `AR100` is named after it, and there is no `AR10` beyond it.
        """
        return score_on_rank_zero(
            self._scoring.state(),
            lambda states: coco_figures(curves_of(states), self.class_names, self.federation),
        )

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._scoring = self._nothing()

    def _nothing(self) -> Scoring:
        return Scoring(
            len(self.class_names),
            self.result_type,
            self.max_detections,
            is_federated=self.federation is not None,
            oks_sigmas=self.oks_sigmas,
        )


def coco_figures(curves: Curves, class_names: Sequence[str], federation: Federation | None = None) -> dict[str, Any]:
    """The figures that `CocoAveragePrecision` gives; NaN where nothing is to be found."""
    figures: dict[str, Any] = {"AP": _mean(curves.precision[..., 0])}
    for threshold in (0.5, 0.75):
        is_threshold = np.isclose(curves.iou_thresholds, threshold)
        figures[f"AP{threshold * 100:.0f}"] = _mean(curves.precision[is_threshold][..., 0])
    for area, suffix in enumerate(AREAS[name] for name in curves.areas):
        if suffix:
            figures[f"AP{suffix}"] = _mean(curves.precision[..., area])
    if federation is not None and any(federation.frequencies):
        for group in FREQUENCIES:
            is_group = np.array([frequency == group for frequency in federation.frequencies])
            figures[f"AP{group}"] = _mean(curves.precision[:, :, is_group, 0])
    for column, number in enumerate(curves.limits):
        figures[f"AR{number}"] = _mean(curves.recall[..., 0, column])
    for area, suffix in enumerate(AREAS[name] for name in curves.areas):
        if suffix:
            figures[f"AR{suffix}"] = _mean(curves.recall[..., area, -1])
    figures[PER_CLASS] = {name: _mean(curves.precision[:, :, number, 0]) for number, name in enumerate(class_names)}
    figures[MAX_DETECTIONS] = curves.limits[-1]
    figures[RULES] = COCO if federation is None else LVIS
    return figures


def _mean(values: np.ndarray) -> float:
    """Over what has ground truth; NaN where nothing has."""
    present = values[values > -1]
    return float(present.mean()) if present.size else float("nan")
