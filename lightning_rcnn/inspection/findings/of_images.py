"""Rules about whole images: copies, damage, and objects that are missing."""

from collections.abc import Iterator

import numpy as np

from lightning_rcnn.inspection.duplicates import FLAT, Copies, Place
from lightning_rcnn.inspection.findings.finding import Case, Finding, Inspected, Level, Shot, share
from lightning_rcnn.plural import plural

MOST_EMPTY = 0.2
"""Share of images without objects above which it is doubtful."""
FEW_OF_MEDIAN = 0.25
"""Share of the median number of objects up to which an image has few."""
LEAST_MEDIAN = 8
"""Median number of objects an image from which on few objects are remarkable."""
MOST_WITH_FEW = 0.02
"""Share of images with few objects above which they are usual."""
USUAL_CLASS = 0.95
"""Share of the images that have a class from which on its absence is remarkable."""
LEAST_IMAGES = 20
"""Images from which on a set has usual numbers."""
_RULE_OF_COPIES = (
    "The same file; or perceptual hashes at most 10 of 64 bits apart, confirmed by pixels: details correlate by 0.8 or "
    "more, and no block of 8 x 8 differs by more than 12 of 255 gray levels."
)


def image_findings(data: Inspected) -> Iterator[Finding]:
    """Yield what is remarkable about images."""
    yield from _copies(data)
    yield from _damage(data)
    yield from _flat(data)
    yield from _without_objects(data)
    yield from _few_objects(data)
    yield from _missing_class(data)


def _copies(data: Inspected) -> Iterator[Finding]:
    leaks = [copies for copies in data.copies if copies.is_leak]
    if leaks:
        names = " and ".join(one.name for one in data.sets)
        where = f"both {names}" if len(data.sets) == 2 else f"more than one of {names}"
        yield Finding(
            "leak",
            Level.WRONG,
            f"{plural(len(leaks), 'image')} in {where}",
            _RULE_OF_COPIES,
            "Scores on images that were trained on are too good: keep each picture in one set only.",
            len(leaks),
            tuple(map(_case_of_copies, leaks)),
        )
    within = [copies for copies in data.copies if not copies.is_leak]
    if within:
        yield Finding(
            "duplicate_image",
            Level.DOUBTFUL,
            f"{plural(len(within), 'image')} more than once in a set",
            _RULE_OF_COPIES,
            "A copy counts twice in training and in scores: keep one.",
            len(within),
            tuple(map(_case_of_copies, within)),
        )
    different = [
        copies
        for copies in data.copies
        if len({_labels_of(data, place) for place in copies.places}) > 1
        # Of a federated set each image may be annotated for other classes.
        and not any(data.sets[place.of_set].index.is_federated for place in copies.places)
    ]
    if different:
        yield Finding(
            "copies_differ",
            Level.WRONG,
            f"{plural(len(different), 'image')} annotated in different ways",
            "Copies of an image whose objects differ in number or class.",
            "At most one of the annotations is right, and the others say how many objects annotators miss.",
            len(different),
            tuple(map(_case_of_copies, different)),
        )


def _case_of_copies(copies: Copies) -> Case:
    remark = "same file" if copies.is_same_file else "same picture"
    return Case(tuple(Shot(place.of_set, place.image) for place in copies.places), remark)


def _labels_of(data: Inspected, place: Place) -> tuple[str, ...]:
    """Return the class names of the objects of an image, sorted."""
    one = data.sets[place.of_set]
    return tuple(sorted(one.categories[label - 1].name for label in one.labels[one.objects_of(place.image)]))


def _damage(data: Inspected) -> Iterator[Finding]:
    cases = [
        Case((Shot(number, image),), reason)
        for number, one in enumerate(data.sets)
        for image, reason in sorted({**one.damages, **one.problems}.items())
    ]
    if cases:
        yield Finding(
            "damaged_image",
            Level.WRONG,
            f"{plural(len(cases), 'image')} unreadable or damaged",
            "The decoder refuses the file or reports damage, or the sample in the shard is broken.",
            "Training leaves unreadable images out; restore the files and pack the set again.",
            len(cases),
            tuple(cases),
        )


def _flat(data: Inspected) -> Iterator[Finding]:
    cases = [
        Case((Shot(number, image),))
        for number, one in enumerate(data.sets)
        for image in np.flatnonzero(one.contrasts <= FLAT).tolist()
        if image not in one.problems
    ]
    if cases:
        yield Finding(
            "flat_image",
            Level.DOUBTFUL,
            f"{plural(len(cases), 'image')} of one color",
            f"The brightest and the darkest of 64 rows differ by at most {FLAT} of 255 gray levels.",
            "Nothing can be learned from them: a camera, an export or a conversion from 16 bits failed.",
            len(cases),
            tuple(cases),
        )


def _without_objects(data: Inspected) -> Iterator[Finding]:
    for number, one in enumerate(data.sets):
        empty = [image for image in np.flatnonzero(one.num_objects == 0).tolist() if image not in one.problems]
        if not empty:
            continue
        emptied = one.index.report.get("emptied_image", 0)
        is_doubtful = (len(empty) > MOST_EMPTY * len(one) and not one.index.is_federated) or emptied > 0
        lost = f", {emptied} of them because packing skipped all of their objects" if emptied else ""
        yield Finding(
            "images_without_objects",
            Level.DOUBTFUL if is_doubtful else Level.NOTE,
            f"{plural(len(empty), 'image')} of {one.name} without objects ({share(len(empty), len(one))}){lost}",
            f"Doubtful above {MOST_EMPTY:.0%} of the set, or if packing skipped their objects.",
            "Backgrounds are useful if they are empty indeed: look whether their annotations got lost. "
            "data.sampling can limit their share in training.",
            len(empty),
            tuple(Case((Shot(number, image),)) for image in empty),
        )


def _few_objects(data: Inspected) -> Iterator[Finding]:
    for number, one in enumerate(data.sets):
        counts = one.num_objects
        median = float(np.median(counts)) if len(one) else 0.0
        if len(one) < LEAST_IMAGES or median < LEAST_MEDIAN or one.index.is_federated:
            continue
        few = np.flatnonzero((counts > 0) & (counts <= FEW_OF_MEDIAN * median))
        if 0 < len(few) <= MOST_WITH_FEW * len(one):
            few = few[np.argsort(counts[few], kind="stable")]
            yield Finding(
                "few_objects",
                Level.DOUBTFUL,
                f"{plural(len(few), 'image')} of {one.name} with far fewer objects than usual ({median:.0f})",
                f"At most {FEW_OF_MEDIAN:.0%} of the median, in at most {MOST_WITH_FEW:.0%} of the images.",
                "Look for objects that nobody annotated: each one teaches the detector that it is background.",
                len(few),
                tuple(Case((Shot(number, image),), plural(int(counts[image]), "object")) for image in few.tolist()),
            )


def _missing_class(data: Inspected) -> Iterator[Finding]:
    for number, one in enumerate(data.sets):
        if len(one) < LEAST_IMAGES or len(one.categories) < 2 or one.index.is_federated:
            continue
        for category in one.categories:
            has = np.bincount(one.image_of[one.labels == category.label], minlength=len(one)) > 0
            lacking = [image for image in np.flatnonzero(~has & (one.num_objects > 0)).tolist()]
            if lacking and has.mean() >= USUAL_CLASS:
                yield Finding(
                    "usual_class_missing",
                    Level.DOUBTFUL,
                    f"{plural(len(lacking), 'image')} of {one.name} without {category.name}, which nearly all have",
                    f"A class that {USUAL_CLASS:.0%} or more of the images have.",
                    "Look whether its objects were overlooked there, or labeled as another class.",
                    len(lacking),
                    tuple(Case((Shot(number, image),)) for image in lacking),
                )
