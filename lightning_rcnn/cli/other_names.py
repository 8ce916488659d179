"""Suggest our option where the name of another tool was given; `names_elsewhere.py` has these names.

`suggestions` finds a misspelled name of ours by its letters.
"""

from collections.abc import Collection

from lightning_rcnn.cli.names_elsewhere import COMMANDS, TABLE, Row
from lightning_rcnn.suggestions import did_you_mean, did_you_mean_key

NAMED_BY_CLASS = ("backbone", "optimizer", "schedule")
"""Parts of a model that have a class path in a file."""

_ROWS = {name: row for row in TABLE for name in row.theirs.split()}


def command_for(name: str, known: Collection[str]) -> str:
    """Return the end of the message about an unknown command: a suggestion, or nothing."""
    near = did_you_mean(name, known)
    return near if near or name not in COMMANDS else f"; did you mean {COMMANDS[name]}?"


def ours_for(name: str, known: Collection[str]) -> str:
    """Return the end of the message about an unknown option or key: a suggestion, or nothing.

    Args:
        name: given name: an option with its dashes, or a dotted key of a file.
        known: options or keys of the command.
    """
    dashes = "--" if name.startswith("-") else ""
    spelled = name.lstrip("-").replace("-", "_")
    owner, _, inner = spelled.partition(".")
    for ours in (dashes + spelled, f"{owner}.init_args.{inner}"):
        if ours in known:
            return f"; did you mean {ours}?"
    whole, (group, _, last_part) = spelled.lower(), spelled.lower().rpartition(".")
    longer = [key for key in known if group and key.startswith(f"{dashes}{group}.{last_part}_")]
    if len(longer) == 1:  # `model.rpn.nms`, while `nms` alone is another part's elsewhere
        return f"; did you mean {longer[0]}?"
    answers = (_of_row(_ROWS[part], dashes, known) for part in (whole, last_part) if part in _ROWS)
    return next(filter(None, answers), "") or did_you_mean_key(dashes + spelled, known)


def is_of_others(name: str) -> bool:
    """Tell whether other tools have an option of this name."""
    return name.replace("-", "_").lower() in _ROWS


def _of_row(row: Row, dashes: str, known: Collection[str]) -> str:
    if not row.ours:
        return f"; {row.advice}"
    for number, key in enumerate(row.ours.split()):
        if meant := _as_known(key, dashes, known):
            return (
                f"; did you mean {meant} ({row.advice})?" if row.advice and number == 0 else f"; did you mean {meant}?"
            )
    return f"; {row.otherwise}" if row.otherwise else ""


def _as_known(key: str, dashes: str, known: Collection[str]) -> str:
    """Return the key as the command names it, also inside `init_args`; empty if there is no such option."""
    if dashes + key in known:
        return dashes + key
    owner, *names = key.split(".")
    if dashes:
        return dashes + key if names and dashes + owner in known else ""
    if names and f"{owner}.init_args.{names[0]}" not in known:
        return ""
    inner = [name for part in names[:-1] for name in (part, *(["init_args"] if part in NAMED_BY_CLASS else []))]
    return ".".join((owner, "init_args", *inner, names[-1])) if names else ""
