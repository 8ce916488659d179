"""Match file names in annotations to files whose spelling differs.

Annotations move between machines. Their file names may have backslashes, folders of another machine, URLs, other case,
decomposed accents, or the suffix from before a conversion. A name matches a file if, in the same spelling, one path is
the end of the other. Spellings are tried from strict to loose, and the first spelling in which any file matches
decides. The name is resolved only if exactly one file matches and no other name matches that file.
"""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import Enum
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from lightning_rcnn.data.image_formats import NAMED_SUFFIXES
from lightning_rcnn.suggestions import did_you_mean_path

Parts = tuple[str, ...]
"""A path's folders and the file's name."""

_NO_PARTS = frozenset({"", ".", ".."})


class Fit(Enum):
    """Result of matching a written name to the files."""

    EXACT = "exact"
    INEXACT = "inexact"
    """The spelling differs, but only one file matches."""
    AMBIGUOUS = "ambiguous"
    NONE = "none"


class NameMatch(NamedTuple):
    """The match of a written name.

    Attributes:
        fit: result of the matching.
        file: file as listed; None unless the fit is exact or inexact.
        hint: end of a message: the files that an ambiguous name matches, or the file closest to an unmatched name.
    """

    fit: Fit
    file: str | None = None
    hint: str = ""


def match_names(written: Iterable[str], files: Collection[str], folder: str = "") -> dict[str, NameMatch]:
    """Find the file that each written name means.

    An exact name costs one lookup; other spellings of the files are computed only if some name is not exact.

    Args:
        written: file names in annotations.
        files: paths relative to one folder, with "/" between the parts.
        folder: path of that folder, if there is one: names may begin with its last parts.

    Returns:
        A match for each distinct name. Among the names that match no file, only the first has a hint.
    """
    names = list(dict.fromkeys(written))
    known = files if isinstance(files, set | frozenset) else frozenset(files)
    exact = {name: NameMatch(Fit.EXACT, name) for name in names if name in known}
    others = [name for name in names if name not in exact]
    if not others:
        return exact
    candidates = _candidates(others, known)
    inexact = {name: fitting[0] for name, fitting in candidates.items() if len(fitting) == 1}
    clashes = _clashes(inexact, {match.file for match in exact.values() if match.file}, split_path(folder))
    matches = dict(exact)
    hint_given = False
    for name in others:
        fitting = candidates.get(name)
        if fitting is None:
            hint = "" if hint_given else did_you_mean_path((split_path(name) or ("",))[-1], known)
            hint_given = True
            matches[name] = NameMatch(Fit.NONE, hint=hint)
        elif len(fitting) > 1:
            matches[name] = NameMatch(Fit.AMBIGUOUS, hint=f"; it matches {_listed(fitting)}")
        elif name in clashes:
            matches[name] = NameMatch(Fit.AMBIGUOUS, hint=f"; it matches {fitting[0]}, as does {clashes[name]}")
        else:
            matches[name] = NameMatch(Fit.INEXACT, fitting[0])
    return matches


def _candidates(names: list[str], files: Collection[str]) -> dict[str, list[str]]:
    """Return the sorted files that match each name in the strictest spelling with a match; no entry without one.

    If that match ignores folders of the name, files that match more folders in a loose spelling are added.
    """
    candidates: dict[str, list[str]] = {}
    for readings, spell in ((_as_written, split_path), (_decoded, _loose), (_decoded, _without_suffix)):
        shortened = [name for name, fitting in candidates.items() if _depth(fitting) < len(split_path(name))]
        others = [name for name in names if name not in candidates]
        looked_up = others + shortened if spell is _loose else others
        wanted = {name: [spell(reading) for reading in readings(name)] for name in looked_up}
        if not wanted:
            continue
        fitting = _fitting(wanted, files, spell)
        for name in shortened if spell is _loose else ():
            deeper = {file for file in fitting[name] if _depth([file]) > _depth(candidates[name])}
            candidates[name] = sorted(deeper.union(candidates[name]))
        candidates |= {name: sorted(fitting[name]) for name in others if fitting[name]}
    return candidates


def _depth(files: Iterable[str]) -> int:
    return max(len(split_path(file)) for file in files)


def _fitting(
    wanted: dict[str, list[Parts]], files: Collection[str], spell: Callable[[str], Parts]
) -> dict[str, set[str]]:
    """Return the files whose path is the end of a wanted path, or the reverse; equal paths exclude all others."""
    last_parts = {parts[-1] for readings in wanted.values() for parts in readings if parts}
    whole: defaultdict[Parts, set[str]] = defaultdict(set)
    ends: defaultdict[Parts, set[str]] = defaultdict(set)
    for file in files:
        parts = spell(file)
        if parts and parts[-1] in last_parts:
            whole[parts].add(file)
            for start in range(1, len(parts)):
                ends[parts[start:]].add(file)
    fitting: dict[str, set[str]] = {}
    for name, readings in wanted.items():
        equal = set[str]().union(*(whole.get(parts, ()) for parts in readings))
        longer = (ends.get(parts, ()) for parts in readings)
        shorter = (whole.get(parts[start:], ()) for parts in readings for start in range(1, len(parts)))
        fitting[name] = equal or set[str]().union(*longer, *shorter)
    return fitting


def _clashes(inexact: dict[str, str], exact: Collection[str], folder: Parts) -> dict[str, str]:
    """Map each name whose file another name also matches to that other name.

    Names that can only mean one path in the folder may share a file, like equal names. Next to such a name, a name with
    another machine's folder or in another case belongs to another file.
    """
    parts_of = {name: split_path(name) for name in inexact}
    sure = {name: file for name, file in inexact.items() if _is_path_in(folder, parts_of[name], split_path(file))}
    owners = {file: file for file in exact} | {file: name for name, file in sure.items()}
    rivals: defaultdict[str, dict[Parts, str]] = defaultdict(dict)
    for name, file in inexact.items():
        if name not in sure:
            rivals[file].setdefault(parts_of[name], name)
    clashes: dict[str, str] = {}
    for name, file in inexact.items():
        if name not in sure:
            other = [rival for parts, rival in rivals[file].items() if parts != parts_of[name]]
            if file in owners or other:
                clashes[name] = owners.get(file) or other[0]
    return clashes


def _is_path_in(folder: Parts, written: Parts, file: Parts) -> bool:
    prefix = written[: len(written) - len(file)]
    return written == prefix + file and folder[len(folder) - len(prefix) :] == prefix


def _as_written(name: str) -> Iterator[str]:
    yield name


def _decoded(name: str) -> Iterator[str]:
    """Yield the readings of a name: itself, without percent-encoding, and a URL's path or a path in its query."""
    yield name
    yield _unquote(name)
    path, _, query = name.partition("?")
    inside = [path.partition("#")[0], *(value for _, value in parse_qsl(query, errors="surrogateescape"))]
    yield from (_unquote(text) for text in inside if text != name and _suffix(text) in NAMED_SUFFIXES)


def split_path(path: str) -> Parts:
    """Split a path at slashes and backslashes; leading ".." are dropped."""
    parts = _normalized(path).replace("\\", "/").split("/")
    if _NO_PARTS.isdisjoint(parts):
        return tuple(parts)
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part not in _NO_PARTS:
            kept.append(part)
    return tuple(kept)


def _loose(path: str) -> Parts:
    """Split a path into parts without case, percent-encoding and surrounding white space."""
    return tuple(_normalized(part.strip().casefold()) for part in split_path(_unquote(path)))


def _without_suffix(path: str) -> Parts:
    """Split a path into loose parts without the suffix of an image."""
    *folders, name = _loose(path) or ("",)
    suffix = _suffix(name)
    return (*folders, name.removesuffix(suffix) if suffix in NAMED_SUFFIXES else name)


def _suffix(path: str) -> str:
    return posixpath.splitext(path.rstrip("/"))[1].lower()


def _unquote(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _normalized(text: str) -> str:
    """Compose accents with their letters (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _listed(files: list[str]) -> str:
    return " and ".join(files[:2]) + (f" and {len(files) - 2} more" if len(files) > 2 else "")
