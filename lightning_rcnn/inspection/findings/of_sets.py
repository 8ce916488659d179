"""Rules about sets: classes, numbers of objects, and what packing had to skip."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from lightning_rcnn.data.defects import Action, Defect
from lightning_rcnn.data.shards import category_difference, told_apart
from lightning_rcnn.inspection.collecting import InspectedSet
from lightning_rcnn.inspection.findings.finding import (
    Case,
    Finding,
    Inspected,
    Level,
    Shot,
    listed,
)
from lightning_rcnn.plural import plural

FEW_OBJECTS = 20
"""Objects of a class below which it is rare."""
SMALL_LOSS = 0.01
"""Share of images and objects up to which what packing skipped is a note."""
_SKIPPED = {defect.label: defect for defect in Defect if defect.action is Action.SKIPPED}


def objects_of_classes(one: InspectedSet) -> Counter[str]:
    """Count the objects of a set by the name of their class, crowds included."""
    counts = np.bincount(one.labels, minlength=len(one.categories) + 1)
    return Counter({category.name: int(counts[category.label]) for category in one.categories})


def set_findings(data: Inspected) -> Iterator[Finding]:
    """Yield what is remarkable about sets."""
    yield from _class_lists(data)
    yield from _absent_classes(data)
    yield from _above_limit(data)
    yield from _packing(data)


def _class_lists(data: Inspected) -> Iterator[Finding]:
    first, *others = told_apart({one.name: one.index for one in data.sets})
    for other in others:
        if difference := category_difference(first, other):
            yield Finding(
                "class_lists_differ",
                Level.WRONG,
                f"{first.name} and {other.name} number their classes differently",
                difference,
                "A detector would be trained on one meaning and scored by another: pack both with the same --classes.",
                1,
            )


def _absent_classes(data: Inspected) -> Iterator[Finding]:
    counts = [objects_of_classes(one) for one in data.sets]
    names = list(dict.fromkeys(name for one in counts for name in one))
    nowhere = [name for name in names if not any(one[name] for one in counts)]
    if nowhere:
        yield Finding(
            "class_without_objects",
            Level.NOTE if all(one.index.is_federated for one in data.sets) else Level.DOUBTFUL,
            f"{plural(len(nowhere), 'class')} without any object: {listed(nowhere)}",
            "A class in the list of classes of which no set has an object.",
            "Perhaps its objects were skipped, or have another name: see the packing report.",
            len(nowhere),
        )
    training, name = counts[0], data.sets[0].name
    for one, of_set in zip(counts[1:], data.sets[1:], strict=True):
        if unknown := [class_name for class_name in names if one[class_name] and not training[class_name]]:
            yield Finding(
                "class_not_in_training",
                Level.WRONG,
                f"{plural(len(unknown), 'class')} in {of_set.name} but not in {name}: {listed(unknown)}",
                f"A class with objects in {of_set.name} of which {name} has none.",
                "It cannot be learned, and counts as missed in every score: split the data again.",
                len(unknown),
            )
        if unseen := [class_name for class_name in names if training[class_name] and not one[class_name]]:
            yield Finding(
                "class_only_in_training",
                Level.NOTE,
                f"{plural(len(unseen), 'class')} in {name} but not in {of_set.name}: {listed(unseen)}",
                f"A class with objects in {name} of which {of_set.name} has none.",
                f"No score of {of_set.name} says anything about it.",
                len(unseen),
            )
    rare = [f"{class_name} ({training[class_name]})" for class_name in names if 0 < training[class_name] < FEW_OBJECTS]
    if rare:
        yield Finding(
            "rare_class",
            Level.NOTE,
            f"{plural(len(rare), 'class')} with few objects in {name}: {listed(rare)}",
            f"Fewer than {FEW_OBJECTS} objects.",
            "data.sampling can show images with rare classes more often.",
            len(rare),
        )


def _above_limit(data: Inspected) -> Iterator[Finding]:
    limit = data.recipe.detections_per_image
    cases = []
    for number, one in enumerate(data.sets):
        above = np.flatnonzero(one.num_objects > limit)
        order = above[np.argsort(-one.num_objects[above], kind="stable")]
        cases += [Case((Shot(number, image),), f"{one.num_objects[image]} objects") for image in order.tolist()]
    if cases:
        most = max(int(one.num_objects.max(initial=0)) for one in data.sets)
        yield Finding(
            "more_objects_than_detections",
            Level.DOUBTFUL,
            f"{plural(len(cases), 'image')} with more objects than the detector may report ({limit}), up to {most}",
            f"More objects than model.box.detections_per_image, {limit}.",
            "The rest is missed whatever the network learns: raise model.box.detections_per_image.",
            len(cases),
            tuple(cases),
        )


def _packing(data: Inspected) -> Iterator[Finding]:
    for one in data.sets:
        skipped = {label: count for label, count in one.index.report.items() if label in _SKIPPED and count}
        if skipped:
            total = sum(skipped.values())
            is_small = total <= SMALL_LOSS * (len(one) + len(one.boxes))
            yield Finding(
                "packing_skipped",
                Level.NOTE if is_small else Level.DOUBTFUL,
                f"Packing {one.name} skipped {plural(total, 'item')}: "
                + listed([f"{label} ({count})" for label, count in skipped.items()]),
                "The packing report in the index names what was left out: images, objects or masks; doubtful above "
                f"{SMALL_LOSS:.0%} of images and objects.",
                "Correct the annotations and pack again, or see that the loss is as small as it seems.",
                total,
            )
