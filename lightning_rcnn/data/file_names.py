"""Which file a written name means where the two are not spelled alike: the one place of these rules.

Annotations travel between machines, and their file names arrive with back-slashes, with folders of elsewhere, as URLs,
in capitals, with decomposed accents, or with the suffix that the file had before it was converted. A name means a file
if, spelled alike, one path is the end of the other. Spellings are tried from close to loose, and the first one in which
any file fits decides: only if exactly one does, and no other name means it, the name is resolved.
"""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import Enum
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES
from lightning_rcnn.suggestions import did_you_mean_path

Parts = tuple[str, ...]
"""A path's folders and the file's name."""

_NO_PARTS = frozenset({"", ".", ".."})


class Fit(Enum):
    """How a written name fits the files."""

    EXACT = "exact"
    INEXACT = "inexact"
    """Spelled in another way, but only one file can be meant."""
    AMBIGUOUS = "ambiguous"
    NONE = "none"


class NameMatch(NamedTuple):
    """What a written name means.

    Attributes:
        file: as the files are listed; None unless the fit is exact or inexact.
        hint: for the end of a message: which files an ambiguous name may mean, or which one is near a name of none.
    """

    fit: Fit
    file: str | None = None
    hint: str = ""


def match_names(written: Iterable[str], files: Collection[str], folder: str = "") -> dict[str, NameMatch]:
    """Find the file that each written name means.

    Names that are listed exactly cost one look-up; the files are spelled in other ways only where some name is not.

    Args:
        written: whatever stands in annotations.
        files: paths with "/" between the parts, relative to one folder.
        folder: that folder, if there is one: names may begin with its last parts.

    Returns:
        A match for each distinct name. Of the names that fit no file, only the first one has a hint.
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
            matches[name] = NameMatch(Fit.AMBIGUOUS, hint=f"; it fits {_listed(fitting)}")
        elif name in clashes:
            matches[name] = NameMatch(Fit.AMBIGUOUS, hint=f"; it fits {fitting[0]}, as does {clashes[name]}")
        else:
            matches[name] = NameMatch(Fit.INEXACT, fitting[0])
    return matches


def _candidates(names: list[str], files: Collection[str]) -> dict[str, list[str]]:
    """The files, sorted, that fit each name in the closest spelling in which any does; no entry where none does.

    Where that spelling leaves out folders of the name, files of which a loose one matches more folders fit as well.
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
    """The files of which the path is the end of a wanted one, or the other way round; equal paths rule out others."""
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
    """Names whose file is also that of another name: that name.

    Names that can only be read as one path of the folder share a file as equal names do. Beside them, a name with a
    folder of elsewhere, or in another case, is the name of another file.
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
    """What a name may stand for: itself, without percent-encoding, and of a URL its path or a path in its query."""
    yield name
    yield _unquote(name)
    path, _, query = name.partition("?")
    inside = [path.partition("#")[0], *(value for _, value in parse_qsl(query, errors="surrogateescape"))]
    yield from (_unquote(text) for text in inside if text != name and _suffix(text) in IMAGE_SUFFIXES)


def split_path(path: str) -> Parts:
    """Parts of a path with separators of either kind; what leads up and out of it is dropped."""
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
    """Parts without differences of case, percent-encoding and white space at their ends."""
    return tuple(_normalized(part.strip().casefold()) for part in split_path(_unquote(path)))


def _without_suffix(path: str) -> Parts:
    """Loose parts without the suffix of an image."""
    *folders, name = _loose(path) or ("",)
    suffix = _suffix(name)
    return (*folders, name.removesuffix(suffix) if suffix in IMAGE_SUFFIXES else name)


def _suffix(path: str) -> str:
    return posixpath.splitext(path.rstrip("/"))[1].lower()


def _unquote(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _normalized(text: str) -> str:
    """Accents composed with their letters."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _listed(files: list[str]) -> str:
    return " and ".join(files[:2]) + (f" and {len(files) - 2} more" if len(files) > 2 else "")
