"""Suggestions for misspelled names."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a clause for the end of a message, "; did you mean X?"; empty if no known name is close.

    A name that differs in case alone is the closest.
    """
    known = list(known)
    near = [other for other in known if other.lower() == name.lower()] or get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def did_you_mean_key(key: str, known: Iterable[str]) -> str:
    """Suggest a dotted key, also for one that lacks its group: max_epochs instead of trainer.max_epochs."""
    known = list(known)
    by_last_part = {full.rpartition(".")[2]: full for full in reversed(known)}
    near = get_close_matches(key, known, n=1, cutoff=0.85)
    near = near or [
        by_last_part[part] for part in get_close_matches(key.rpartition(".")[2], by_last_part, n=1, cutoff=0.75)
    ]
    return f"; did you mean {near[0]}?" if near else ""


def did_you_mean_path(name: str, known: Iterable[str]) -> str:
    """Suggest a path with "/" between the parts for a file name; only last parts are compared."""
    by_last_part = {path.rpartition("/")[2]: path for path in sorted(known, reverse=True)}
    near = get_close_matches(name, by_last_part, n=1)
    return f"; did you mean {by_last_part[near[0]]}?" if near else ""
