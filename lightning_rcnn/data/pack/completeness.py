"""Check that the rules leave enough of a data set, so that a training uses the intended data."""

from math import ceil

from lightning_rcnn.data.defects import Action, Defect, DefectLog
from lightning_rcnn.data.pack.source import Contents
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

MAX_LOSS = 0.05
"""Largest share of images or objects that may be lost, 0 to 1. Real data sets with clicks without a drag and cut-off
files lose well below 0.01. Systematic errors, such as file names of another machine or boxes in another form, lose from
a fifth to everything."""
_MAX_REASONS = 3


def require_complete(name: str, annotated: Contents, kept: Contents, log: DefectLog, max_loss: float) -> None:
    """Refuse a data set that loses too large a share of its images or objects.

    Objects of classes that were not requested are no loss, but a set without other objects is refused.

    Args:
        name: name of the data set.
        annotated: numbers before the rules.
        kept: numbers after the rules.
        log: defects of the data set.
        max_loss: largest share that may be lost, 0 to 1; 1 refuses nothing.

    Raises:
        InputError: the set is refused.
    """
    for kind, before, after in zip(("images", "objects"), annotated, kept, strict=True):
        share = (before - after) / max(before, 1)
        if share > max_loss:
            raise InputError(
                f"{name}: {before - after} of {before} {kind} would be left out, a share above --max_loss "
                f"{max_loss:g}: {_reasons(log)}; nothing was written; correct the set, or accept the loss with "
                f"--max_loss {ceil(share * 100) / 100:g}"
            )
    others = log.counts[Defect.OTHER_CLASS]
    if kept.objects == 0 and others and max_loss < 1:
        raise InputError(
            f"{name}: {plural(others, 'object')}, none of the requested classes (first other: "
            f"{log.first_locations[Defect.OTHER_CLASS]}); nothing was written; correct --classes"
        )


def _reasons(log: DefectLog) -> str:
    skipped = [row for row in log.rows() if row[0].action is Action.SKIPPED]
    most_frequent = sorted(skipped, key=lambda row: -row[1])[:_MAX_REASONS]
    return ", ".join(f"{defect.label} x {count} (first: {location})" for defect, count, location in most_frequent)
