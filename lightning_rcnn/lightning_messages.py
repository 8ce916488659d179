"""Messages of Lightning and torch that a user cannot act on."""

import logging
import os
import warnings

SILENT = (
    "Tip: For seamless cloud",  # of other products
    "Automatic Mixed Precision (AMP)",  # the line before names the precision
    "TPU available: False",
    "Loading `train_dataloader` to estimate number of stepping batches",
)
"""Parts of log lines that are not printed."""


def hush_lightning() -> None:
    """Silence tips to install other products, facts that nobody asks for, and warnings about Lightning's internals."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_of_use)
    # On machines with SLURM that do not use it now.
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    # An internal matter of Lightning and torch.
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)

    # Of weights of 1 x 1: strides of sides of one pixel mean nothing.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")


def hush_torch() -> None:
    """Let torch's C++ print errors alone, unless the user wants more; call this before torch is imported.

    Where a rank is lost, it prints 17 lines of its stack on each of the others, around our line that names the rank.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def hush_missing_callbacks() -> None:
    """Silence the advice to evaluate a checkpoint with the callbacks of its training, which have no part in it."""
    warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`, callbacks used to create")


def _is_of_use(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(part in message for part in SILENT)
