"""The analysis in sentences: what is wrong and what to look at next, the largest cost first."""

from collections.abc import Mapping
from itertools import accumulate

from lightning_rcnn.evaluation.analysis.analysis import Analysis, ClassFigures
from lightning_rcnn.evaluation.analysis.costs import MISSED
from lightning_rcnn.evaluation.scoring import RegionType

ADVICE = {
    "class": "detections lie on objects of another class; look at the confusion matrix, and check that annotators "
    "agree on these classes",
    "location": "detections have the right class but overlap their objects too little; check how tightly objects are "
    "annotated, and try a larger image size",
    "both": "both class and location are wrong",
    "duplicate": "objects are detected twice; lower the IoU of the non-maximum suppression (model.box.nms_iou)",
    "background": "detections lie where nothing is annotated; look in the gallery whether annotations are missing",
    "missed": "no detection lies on these objects; look at the recall by size, and at the recall of the proposals",
}
_LOWEST_COST = 0.005
"""AP50; kinds of errors that cost less get no sentence."""
_MANY_NAMES, _COSTLIEST = 8, 3
"""Numbers of class names that are listed: of classes without true positives, and per kind of error."""
_MOST = 2 / 3
"""Share of a cost that the listed classes have together, if there are not too many."""
_CALIBRATION_ERROR = 0.1
"""From here on calibration gets a sentence."""
_PROPOSAL_RECALL = 0.95
"""Below this proposals get a sentence."""
_RECALL_GAP = 0.2
"""From this difference of recall on sizes get a sentence."""
_MASK_GAP = 0.05
"""AP50; from this distance of masks behind boxes on they get a sentence."""
_FEW_OBJECTS = 20
"""AP and recall over fewer objects are noise."""


def findings_of_each(
    analyses: Mapping[RegionType, Analysis], proposal_recall: float | None = None
) -> dict[RegionType, list[str]]:
    """Say what to know first of each result type, and of masks where they fall behind their boxes.

    Args:
        analyses: result type -> analysis, of the same detections.
        proposal_recall: share of objects with a proposal of IoU .5; None if unknown.
    """
    sentences = {kind: findings(analysis, proposal_recall) for kind, analysis in analyses.items()}
    if "segm" in analyses and "bbox" in analyses:
        sentences["segm"] = [*_masks_beside_boxes(analyses["segm"], analyses["bbox"]), *sentences["segm"]]
    return sentences


def findings(analysis: Analysis, proposal_recall: float | None = None) -> list[str]:
    """Say what to know first.

    Args:
        analysis: analysis of an evaluation.
        proposal_recall: share of objects with a proposal of IoU .5; None if unknown.
    """
    if analysis.ap50 is None:
        return ["No image has an object that is scored, so there are no errors to analyze."]
    if analysis.num_detections == 0:
        return ["There are no detections at all."]
    return [
        *_unfound_classes(analysis.classes),
        *_costs(analysis),
        *_proposals(proposal_recall),
        *_sizes(analysis),
        *_confusions(analysis),
        *_calibration(analysis),
    ]


def _unfound_classes(classes: list[ClassFigures]) -> list[str]:
    with_objects = [one for one in classes if one.num_objects]
    sentences = []
    groups = (
        ("is never predicted", "are never predicted", [one for one in with_objects if not one.num_detections]),
        (
            "is predicted, but never on its objects",
            "are predicted, but never on their objects",
            [one for one in with_objects if one.num_detections and one.ap50 == 0],
        ),
    )
    for singular, plural, group in groups:
        if group:
            names = ", ".join(f"{one.name} ({_objects(one.num_objects)})" for one in group[:_MANY_NAMES])
            more = f" and {len(group) - _MANY_NAMES} more classes" if len(group) > _MANY_NAMES else ""
            lost = sum(one.lost for one in group)
            verb = singular if len(group) == 1 else plural
            sentences.append(f"{names}{more} {verb}; this costs {points(lost)} of AP50.")
    few = [one for one in with_objects if one.num_objects < _FEW_OBJECTS]
    if few and len(few) < len(with_objects):
        sentences.append(
            f"{len(few)} of {len(with_objects)} classes have fewer than {_FEW_OBJECTS} objects; their AP is noisy."
        )
    return sentences


def _costs(analysis: Analysis) -> list[str]:
    costly = sorted(analysis.errors.items(), key=lambda item: -item[1].ap50)
    sentences = []
    for name, error in costly[:2]:
        if error.ap50 >= _LOWEST_COST:
            most = _costliest_classes(analysis.classes, name)
            label = "Missed objects" if name == MISSED else f"Errors of kind “{name}”"
            sentences.append(f"{label} cost {points(error.ap50)} of AP50 ({error.count}{most}): {ADVICE[name]}.")
    return sentences or ["No kind of error costs half a point of AP50."]


def _costliest_classes(classes: list[ClassFigures], error: str) -> str:
    """Name the classes to which a kind of error costs most, if there are several."""
    costly = [(one.costs[error], one.name) for one in classes if one.costs.get(error, 0) > 0]
    if len(costly) < 2:
        return ""
    costly.sort(key=lambda pair: -pair[0])
    shares = list(accumulate(cost / sum(cost for cost, _ in costly) for cost, _ in costly))
    number = 1 + sum(share < _MOST for share in shares)
    return f", mostly {', '.join(name for _, name in costly[: min(number, _COSTLIEST)])}"


def _proposals(recall: float | None) -> list[str]:
    if recall is None or recall >= _PROPOSAL_RECALL:
        return []
    return [
        f"Only {recall:.1%} of the objects have a proposal (IoU .5), and few others can be found: look at the anchors "
        "and the number of proposals first."
    ]


def _sizes(analysis: Analysis) -> list[str]:
    recalls = {
        name: size.found / size.num_objects for name, size in analysis.sizes.items() if size.num_objects >= _FEW_OBJECTS
    }
    if len(recalls) < 2:
        return []
    worst, best = min(recalls, key=lambda name: recalls[name]), max(recalls, key=lambda name: recalls[name])
    if recalls[best] - recalls[worst] < _RECALL_GAP:
        return []
    larger = " A larger input size or smaller anchors may help." if worst == "small" else ""
    return [
        f"At the best threshold {recalls[worst]:.0%} of the {worst} objects are found, and {recalls[best]:.0%} of the "
        f"{best} ones.{larger}"
    ]


def _confusions(analysis: Analysis) -> list[str]:
    totals = {one.name: one.num_objects for one in analysis.classes}
    for one in analysis.confusions:
        if one.actual is None or one.predicted is None or one.actual == one.predicted:
            continue
        if one.count >= 0.1 * totals[one.actual]:
            return [
                f"{one.actual} is detected as {one.predicted} {_times(one.count)} ({_objects(totals[one.actual])})."
            ]
    return []


def _calibration(analysis: Analysis) -> list[str]:
    if analysis.calibration_error < _CALIBRATION_ERROR:
        return []
    total = sum(part.count for part in analysis.calibration)
    gap = sum(part.count * (part.score - part.precision) for part in analysis.calibration) / max(1, total)
    side = "higher" if gap > 0 else "lower"
    return [
        f"Scores are not probabilities: the calibration error is {analysis.calibration_error:.2f}, and on average they "
        f"are {abs(gap):.2f} {side} than the precision."
    ]


def _masks_beside_boxes(masks: Analysis, boxes: Analysis) -> list[str]:
    if masks.ap50 is None or boxes.ap50 is None or masks.num_objects != boxes.num_objects:
        return []  # objects without a mask are scored by their boxes alone
    if boxes.ap50 - masks.ap50 < _MASK_GAP:
        return []
    return [
        f"AP50 is {points(masks.ap50)} for masks and {points(boxes.ap50)} for boxes: many objects are in the right box "
        "with a wrong mask; compare the outlines in the gallery with how objects are annotated."
    ]


def _objects(number: int) -> str:
    return f"{number} object{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def points(share: float) -> str:
    """Format a figure in points of 100."""
    return f"{100 * share:.1f} points"
