"""Whether enough of a data set is left after the rules, so that a training on it is the one that was meant."""

from math import ceil

from lightning_rcnn.data.defects import Action, Defect, DefectLog
from lightning_rcnn.data.pack.source import Contents
from lightning_rcnn.errors import InputError

MAX_LOSS = 0.05
"""Real sets with their clicks without a drag and their cut-off files lose well below a hundredth. What affects a whole
set, such as names of another machine or boxes in another form, takes a fifth of it or all."""
_MOST_REASONS = 3


def require_complete(name: str, annotated: Contents, kept: Contents, log: DefectLog, max_loss: float) -> None:
    """Refuse a set that loses its objects, or more than a share of them or of its images.

    Objects of classes that were not asked for are no loss, but a set of nothing else is refused.

    Args:
        name: of the data set.
        annotated: before the rules.
        kept: after them.
        log: what the rules found.
        max_loss: the share, 0 to 1; 1 refuses nothing.

    Raises:
        InputError: the set is refused.
    """
    for what, before, after in zip(("images", "objects"), annotated, kept, strict=True):
        share = (before - after) / max(before, 1)
        if share > max_loss:
            raise InputError(
                f"{name}: {before - after} of {before} {what} would be left out, a share above --max_loss "
                f"{max_loss:g}: {_reasons(log)}; nothing was written; correct the set, or accept the loss with "
                f"--max_loss {ceil(share * 100) / 100:g}"
            )
    others = log.counts[Defect.OTHER_CLASS]
    if kept.objects == 0 and others and max_loss < 1:
        raise InputError(
            f"{name}: none of its {others} objects is of the classes that were asked for (first other: "
            f"{log.first_places[Defect.OTHER_CLASS]}); nothing was written; correct --classes"
        )


def _reasons(log: DefectLog) -> str:
    skipped = [row for row in log.rows() if row[0].value.action is Action.SKIPPED]
    most = sorted(skipped, key=lambda row: -row[1])[:_MOST_REASONS]
    return ", ".join(f"{defect.label} x {count} (first: {place})" for defect, count, place in most)
