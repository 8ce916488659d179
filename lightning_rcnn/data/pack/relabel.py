"""Give the classes of a source other labels: some are left out, some become one."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.index import LABEL_LISTS, Category
from lightning_rcnn.data.pack.source import Outcome, Sample, Source


def relabeled(source: Source, categories: list[Category], labels: Mapping[int, int]) -> Source:
    """Return a source with other classes.

    Args:
        source: source.
        categories: new classes.
        labels: label of the source -> label of the new class; objects with other labels are left out.
    """
    names = {category.label: category.name for category in source.categories}
    return replace(
        source,
        categories=categories,
        read=partial(_read, read=source.read, labels=labels, names=names),
        labels_of=partial(_labels_of, labels_of=source.labels_of, labels=labels),
    )


def _labels_of(item: Any, labels_of: Callable[[Any], Collection[int]], labels: Mapping[int, int]) -> set[int]:
    return {labels[label] for label in labels_of(item) if label in labels}


def _read(item: Any, read: Callable[[Any], Outcome], labels: Mapping[int, int], names: Mapping[int, str]) -> Outcome:
    outcome = read(item)
    if outcome.sample is None:
        return outcome
    record = dict(outcome.sample.record)
    kept = [each | {"label": labels[each["label"]]} for each in record["annotations"] if each["label"] in labels]
    others = [each for each in record["annotations"] if each["label"] not in labels]
    record["annotations"] = kept
    for key in LABEL_LISTS:
        if key in record:
            record[key] = sorted({labels[label] for label in record[key] if label in labels})
    name = record["file_name"]
    findings = [Finding(Defect.OTHER_CLASS, f"{name}, id {each['id']}, {names[each['label']]}") for each in others]
    if others and not kept:
        findings.append(Finding(Defect.EMPTY_IMAGE, name))
    sample = Sample(outcome.sample.image, outcome.sample.extension, record)
    return Outcome(sample, [*outcome.findings, *findings], outcome.num_objects - len(others))
