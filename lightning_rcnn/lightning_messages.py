"""What Lightning says that nobody at the keyboard can do anything about."""

import logging
import warnings


def hush_lightning() -> None:
    """Leave out tips to install other products, and warnings of what is Lightning's own affair."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    # For machines that have SLURM but do not use it now.
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    # Between Lightning and torch.
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    """False for Lightning's tips to install other products."""
    return "Tip: For seamless cloud" not in record.getMessage()
