"""Files that appear under their name only when they are whole."""

import os
from pathlib import Path
from typing import Any

import torch


def write_whole(content: Any, path: Path) -> None:
    """Write what torch can save, beside its place, and move it there.

    One name serves all attempts: what a killed process left behind is overwritten by the next. What an error leaves
    behind is removed: the disk may be full.

    Raises:
        OSError: it cannot be written; the file that was there before is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        # On closing, torch stumbles once more over a write that failed, and says nothing of why.
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
