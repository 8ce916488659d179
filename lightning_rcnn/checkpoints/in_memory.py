"""Where a launcher whose ranks start again (`lightning_rcnn/healing`) keeps the checkpoint in the machine's memory."""

import os
from pathlib import Path

FOLDER_VARIABLE = "LIGHTNING_RCNN_MEMORY"
"""Variable with the folder, on a file system in memory, that the launcher of the ranks has made."""
STEPS_VARIABLE = "LIGHTNING_RCNN_MEMORY_STEPS"
"""Variable with the number of optimizer steps between two checkpoints there."""
NAME = "memory.ckpt"


def memory_checkpoint() -> Path | None:
    """Return the file in memory if the launcher of this process has one."""
    folder = os.environ.get(FOLDER_VARIABLE)
    path = Path(folder, NAME) if folder else None
    return path if path is not None and path.is_file() else None
