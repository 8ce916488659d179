"""Messages of Lightning that a user cannot act on."""

import logging
import warnings


def hush_lightning() -> None:
    """Silence tips to install other products and warnings about Lightning's internals."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    # On machines with SLURM that do not use it now.
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    # An internal matter of Lightning and torch.
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    """Tell whether a record is not one of Lightning's tips to install other products."""
    return "Tip: For seamless cloud" not in record.getMessage()
