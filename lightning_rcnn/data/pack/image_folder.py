"""Find the files that names in an annotation file mean."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from lightning_rcnn.data.defects import Defect, Finding
from lightning_rcnn.data.file_names import Fit, NameMatch, match_names
from lightning_rcnn.data.folder_listing import list_files
from lightning_rcnn.data.image_formats import IMAGE_SUFFIXES


class LocatedImages(NamedTuple):
    """The files that the names in an annotation file mean.

    Attributes:
        files: written name -> path relative to the folder; absolute if the name is absolute and leads out of the
            folder. Names without a file are absent.
        findings_by_name: written name -> findings, for names that are not exact.
        unlisted: images in the folder without a name, sorted.
    """

    files: dict[str, str]
    findings_by_name: dict[str, list[Finding]]
    unlisted: list[str]

    @property
    def findings(self) -> list[Finding]:
        """All findings, in the order of the names."""
        return [finding for findings in self.findings_by_name.values() for finding in findings]


def locate_images(folder: Path, names: Iterable[str]) -> LocatedImages:
    """Find the files that names mean (see `data/file_names.py`), with one listing of the folder.

    A file outside the folder is read only if a name is its absolute path.
    """
    root = os.path.abspath(folder)
    listed = list_files(folder)
    known = frozenset(listed)
    exact: dict[str, str | None] = {name: _exact_file(root, name, known) for name in names}
    inside = {file for file in exact.values() if file is not None and not os.path.isabs(file)}
    matches = match_names([*inside, *(name for name, file in exact.items() if file is None)], known | inside, root)
    files: dict[str, str] = {}
    findings: dict[str, list[Finding]] = {}
    for name, exact_file in exact.items():
        if exact_file is not None:
            files[name] = exact_file
            if os.path.isabs(exact_file):
                findings[name] = [Finding(Defect.ABSOLUTE_FILE_NAME, name)]
        elif _exists_elsewhere(root, name):
            findings[name] = [Finding(Defect.FILE_OUTSIDE_FOLDER, name)]
        else:
            findings[name] = name_findings(name, matches[name])
            if (file := matches[name].file) is not None:
                files[name] = file
    used = set(files.values())
    unlisted = [file for file in listed if file not in used and Path(file).suffix.lower() in IMAGE_SUFFIXES]
    return LocatedImages(files, findings, unlisted)


def name_findings(name: str, match: NameMatch) -> list[Finding]:
    """Return the findings about a name in an annotation file; none if it is exact."""
    match match.fit:
        case Fit.EXACT:
            return []
        case Fit.INEXACT:
            return [Finding(Defect.INEXACT_FILE_NAME, f"{name}: {match.file}")]
        case Fit.AMBIGUOUS:
            return [Finding(Defect.AMBIGUOUS_FILE_NAME, f"{name}{match.hint}")]
        case Fit.NONE:
            return [Finding(Defect.MISSING_IMAGE, f"{name}{match.hint}")]


def _exact_file(root: str, name: str, listed: Collection[str]) -> str | None:
    """Return the file to which a name leads as written: in the folder, or by its absolute path."""
    path = _relative(root, name)
    if path is not None:
        return path if path in listed or os.path.isfile(os.path.join(root, path)) else None
    return name if os.path.isabs(name) and os.path.isfile(name) else None


def _relative(root: str, name: str) -> str | None:
    """Return the path in the folder to which a name leads as written; None if it leads out of it."""
    if "\0" in name:  # some versions of Python cut paths at NUL
        return None
    path = os.path.normpath(os.path.join(root, name))
    prefix = os.path.join(root, "")
    return path.removeprefix(prefix).replace(os.sep, "/") if path.startswith(prefix) and path != prefix else None


def _exists_elsewhere(root: str, name: str) -> bool:
    """Return whether a relative name leads to a file outside the folder, from it or from its parent."""
    path = name.replace("\\", "/")
    bases = () if os.path.isabs(path) else (root, os.path.dirname(root))
    targets = [os.path.normpath(os.path.join(base, path)) for base in bases]
    return any(_relative(root, target) is None and os.path.isfile(target) for target in targets)
