"""The version of the code around a run: the git commit of the working directory."""

import os
import subprocess
from pathlib import Path
from typing import Any

TIMEOUT = 10.0
"""Seconds that git may take, for example on a slow file system."""
_UNTRACKED_CODE = ("ls-files", "--others", "--exclude-standard", "--", "*.py")


def code_version(folder: Path | None = None) -> dict[str, Any]:
    """Return the git commit of a folder, and whether its code differs from that commit.

    Args:
        folder: by default the working directory, in which modules of the user are found.

    Returns:
        `commit` and `is_dirty`: whether tracked files were changed, or Python files are untracked. Empty without git,
        outside a repository, and before its first commit; without `is_dirty` if git takes too long.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    untracked = _git(folder, *_UNTRACKED_CODE)
    if changed is None or untracked is None:
        return {"commit": commit}
    return {"commit": commit, "is_dirty": bool(changed or untracked)}


def _git(folder: Path | None, *words: str) -> str | None:
    """Return what a git command prints; None if it fails."""
    # Without optional locks git writes nothing: another process may use the repository.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, env=environment, timeout=TIMEOUT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
