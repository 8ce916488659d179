"""Rules about single objects: boxes and labels that are probably wrong, or that the detector cannot learn."""

from collections.abc import Iterator

import numpy as np

from lightning_rcnn.inspection.appearance import doubtful_labels, features_of
from lightning_rcnn.inspection.collecting import InspectedSet
from lightning_rcnn.inspection.duplicates import FLAT
from lightning_rcnn.inspection.findings.finding import Case, Finding, Inspected, Level, Shot, share
from lightning_rcnn.inspection.suggestions import GOOD_IOU, MOST_POOR
from lightning_rcnn.plural import plural

SAME_BOX = 0.9
"""IoU above which two boxes are one."""
TINY_PIXELS = 3.0
"""Shorter edge of the image's pixels below which a box is tiny."""
TINY_RESIZED = 4.0
"""Shorter edge below which a box is tiny in the frame of the network."""
WHOLE_IMAGE = 0.98
"""Share of the width and of the height of the image from which on a box covers it."""
ELONGATED = 10.0
"""Longer edge over shorter edge from which on a box is elongated."""
USUAL_SHAPE = 0.05
"""Share of the boxes of a class above which a shape is usual."""
MOST_HIDDEN = 0.01
"""Share of objects above which NMS is a limit."""


def box_findings(data: Inspected) -> Iterator[Finding]:
    """Yield what is remarkable about objects."""
    yield from _one_box_twice(data)
    yield from _other_look(data)
    yield from _tiny(data)
    yield from _whole_image(data)
    yield from _elongated(data)
    yield from _anchors(data)
    yield from _hidden(data)


def _name(one: InspectedSet, number: int) -> str:
    return one.categories[int(one.labels[number]) - 1].name


def _of_objects(data: Inspected, remarks: list[tuple[int, int, str]]) -> tuple[Case, ...]:
    """Build a case for each (set, object, remark)."""
    return tuple(
        Case((Shot(of_set, int(data.sets[of_set].image_of[number]), (number,)),), remark)
        for of_set, number, remark in remarks
    )


def _total(data: Inspected) -> int:
    return sum(len(one.objects) for one in data.resized)


def _one_box_twice(data: Inspected) -> Iterator[Finding]:
    same, other = [], []
    for of_set, one in enumerate(data.sets):
        order = np.argsort(-one.iou, kind="stable")
        for first, second in one.pairs[order[one.iou[order] > SAME_BOX]].tolist():
            shot = Shot(of_set, int(one.image_of[first]), (first, second))
            names = [_name(one, number) for number in (first, second)]
            if names[0] == names[1]:
                same.append(Case((shot,), f"{names[0]} twice"))
            elif not one.index.is_federated:  # there an object may have several classes, as a toy deer is a toy
                other.append(Case((shot,), f"{names[0]} and {names[1]}"))
    if other:
        yield Finding(
            "box_of_two_classes",
            Level.DOUBTFUL,
            f"{plural(len(other), 'object')} labeled as two classes at once",
            f"Two boxes of different classes with an IoU above {SAME_BOX}.",
            "One of the labels is probably wrong, unless an object may have several.",
            len(other),
            tuple(other),
        )
    if same:
        yield Finding(
            "duplicate_box",
            Level.WRONG,
            f"{plural(len(same), 'object')} annotated twice",
            f"Two boxes of one class with an IoU above {SAME_BOX}.",
            "The second box can never be detected beside the first: remove it.",
            len(same),
            tuple(same),
        )


def _other_look(data: Inspected) -> Iterator[Finding]:
    remarks = []
    for of_set, one in enumerate(data.sets):
        objects = data.resized[of_set].objects
        objects = objects[(one.contrasts[one.image_of[objects]] > FLAT) & ~_tiny_of(data, of_set)]
        features = features_of(one.colors[objects], one.boxes[objects], one.sizes[one.image_of[objects]])
        for index, label in sorted(doubtful_labels(features, one.labels[objects]).items()):
            number = int(objects[index])
            looks = one.categories[label - 1].name
            remarks.append((of_set, number, f"{_name(one, number)}, looks like {looks}"))
    if remarks:
        yield Finding(
            "other_look",
            Level.DOUBTFUL,
            f"{plural(len(remarks), 'object')} with the look of another class",
            "Colors, size and shape are those of another class, where the two classes are clearly apart (linear "
            "discriminant analysis).",
            "The labels are probably swapped.",
            len(remarks),
            _of_objects(data, remarks),
        )


def _tiny_of(data: Inspected, of_set: int) -> np.ndarray:
    """Return which single objects of a set are tiny, bool [M]."""
    one, resized = data.sets[of_set], data.resized[of_set]
    edges = (one.boxes[:, 2:] - one.boxes[:, :2])[resized.objects].min(axis=1, initial=np.inf)
    return (edges < TINY_PIXELS) | (resized.sides.min(axis=1, initial=np.inf) < TINY_RESIZED)


def _tiny(data: Inspected) -> Iterator[Finding]:
    remarks = []
    for of_set, one in enumerate(data.sets):
        numbers = data.resized[of_set].objects[_tiny_of(data, of_set)]
        sides = one.boxes[numbers, 2:] - one.boxes[numbers, :2]
        for index in np.argsort(sides.min(axis=1, initial=np.inf), kind="stable").tolist():
            number = int(numbers[index])
            width, height = sides[index]
            remarks.append((of_set, number, f"{_name(one, number)}, {width:.1f} x {height:.1f} px"))
    if remarks:
        yield Finding(
            "tiny_box",
            Level.DOUBTFUL,
            f"{plural(len(remarks), 'tiny box')} ({share(len(remarks), _total(data))})",
            f"A shorter edge below {TINY_PIXELS:g} pixels, or below {TINY_RESIZED:g} after resizing.",
            "Slips of the mouse, or the rest of an object at the border; if they are real, raise "
            "model.preprocessing.min_size, or cut the images into tiles.",
            len(remarks),
            _of_objects(data, remarks),
        )


def _whole_image(data: Inspected) -> Iterator[Finding]:
    remarks = []
    for of_set, one in enumerate(data.sets):
        sides = one.boxes[:, 2:] - one.boxes[:, :2]
        covers = (sides >= WHOLE_IMAGE * one.sizes[one.image_of][:, ::-1]).all(axis=1) & ~one.is_crowd
        remarks += [(of_set, number, _name(one, number)) for number in np.flatnonzero(covers).tolist()]
    if remarks:
        yield Finding(
            "whole_image_box",
            Level.DOUBTFUL,
            f"{plural(len(remarks), 'box')} covering the whole image ({share(len(remarks), _total(data))})",
            f"At least {WHOLE_IMAGE:.0%} of the width and of the height of its image.",
            "Real only for objects that fill the picture; else a label of the image, or coordinates of another size.",
            len(remarks),
            _of_objects(data, remarks),
        )


def _elongated(data: Inspected) -> Iterator[Finding]:
    remarks = []
    for of_set, one in enumerate(data.sets):
        objects = data.resized[of_set].objects
        sides = np.maximum((one.boxes[:, 2:] - one.boxes[:, :2])[objects], 1e-3)
        ratio = sides.max(axis=1, initial=0) / sides.min(axis=1, initial=np.inf)
        is_long = (ratio >= ELONGATED) & ~_tiny_of(data, of_set)
        for label in np.unique(one.labels[objects][is_long]).tolist():
            members = one.labels[objects] == label
            long = np.flatnonzero(members & is_long)
            if len(long) > max(1, USUAL_SHAPE * members.sum()):
                continue
            for index in long[np.argsort(-ratio[long], kind="stable")].tolist():
                number = int(objects[index])
                remarks.append((of_set, number, f"{_name(one, number)}, {ratio[index]:.0f} : 1"))
    if remarks:
        yield Finding(
            "elongated_box",
            Level.DOUBTFUL,
            f"{plural(len(remarks), 'box')} far longer than wide",
            f"Edges of {ELONGATED:g} : 1 or more, in a class where at most {USUAL_SHAPE:.0%} are.",
            "Slips of the mouse, or swapped coordinates; if they are real, add to model.rpn.anchors.ratios.",
            len(remarks),
            _of_objects(data, remarks),
        )


def _anchors(data: Inspected) -> Iterator[Finding]:
    rpn = data.recipe.rpn
    if rpn is None or data.anchor_iou is None:
        return
    remarks, poor = [], 0
    for of_set, iou in enumerate(data.anchor_iou):
        one, objects = data.sets[of_set], data.resized[of_set].objects
        poor += int((iou < GOOD_IOU).sum())
        lost = np.flatnonzero(iou < rpn.negative_iou)
        for index in lost[np.argsort(iou[lost], kind="stable")].tolist():
            number = int(objects[index])
            width, height = data.resized[of_set].sides[index]
            remarks.append(
                (of_set, number, f"{_name(one, number)}, {width:.0f} x {height:.0f} px, IoU {iou[index]:.2f}")
            )
    total = _total(data)
    if remarks:
        yield Finding(
            "no_anchor",
            Level.DOUBTFUL,
            f"{plural(len(remarks), 'object')} beyond all anchors ({share(len(remarks), total)})",
            f"After resizing, the best anchor has an IoU below model.rpn.negative_iou, {rpn.negative_iou:g}.",
            "Hardly found by this recipe: correct the boxes, or see the suggested anchors.",
            len(remarks),
            _of_objects(data, remarks),
        )
    if poor > MOST_POOR * total:
        yield Finding(
            "anchors_do_not_fit",
            Level.DOUBTFUL,
            f"The anchors fit {share(poor, total)} of the objects poorly",
            f"More than {MOST_POOR:.0%} of the objects have no anchor with an IoU of {GOOD_IOU:g} after resizing.",
            "Take the suggested anchors or min_size; where none is better, cut the images into parts.",
            poor,
        )


def _hidden(data: Inspected) -> Iterator[Finding]:
    suppression = data.recipe.suppression
    if suppression is None:
        return
    cases, hidden = [], 0
    for of_set, one in enumerate(data.sets):
        first, second = one.pairs.T
        compared = suppression.across_classes | (one.labels[first] == one.labels[second])
        above = (one.iou > suppression.iou) & (one.iou <= SAME_BOX) & compared
        hidden += len(np.unique(one.pairs[above].max(axis=1, initial=0))) if above.any() else 0
        for index in np.flatnonzero(above)[np.argsort(-one.iou[above], kind="stable")].tolist():
            pair = (int(first[index]), int(second[index]))
            cases.append(Case((Shot(of_set, int(one.image_of[pair[0]]), pair),), f"IoU {one.iou[index]:.2f}"))
    if hidden > MOST_HIDDEN * _total(data):
        boxes = "Boxes, also of different classes," if suppression.across_classes else "Boxes of one class"
        yield Finding(
            "hidden_by_nms",
            Level.DOUBTFUL,
            f"{plural(hidden, 'object')} hidden by a neighbor ({share(hidden, _total(data))})",
            f"{boxes} with an IoU above model.box.nms_iou, {suppression.iou:g}: of two right detections NMS drops one.",
            "If the boxes are right, raise model.box.nms_iou, or take Soft-NMS (model.box.nms: soft)"
            + (", or leave out model.box.nms_across_classes." if suppression.across_classes else "."),
            hidden,
            tuple(cases),
        )
