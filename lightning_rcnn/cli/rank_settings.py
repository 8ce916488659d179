"""Whether all ranks of a training have the same settings: each reads its own command and configuration files."""

from collections.abc import Mapping
from typing import Any

from lightning_rcnn.cli.run_settings import DURATIONS, changed_settings
from lightning_rcnn.distributed import gather_on_all_ranks, is_distributed, share_from_rank_zero
from lightning_rcnn.errors import InputError

OF_A_NODE = ("data.train", "data.val")
"""Where the data lie may differ between nodes; that they are the same is known by their index."""


def require_same_settings(settings: Mapping[str, Any]) -> None:
    """Refuse ranks whose settings would make another training, as after an edit between the starts of two nodes.

    Their gradients would be averaged all the same, and their weights part without a word.

    Args:
        settings: settings of this rank, as plain values.

    Raises:
        InputError: a rank has other settings than rank 0.
    """
    if not is_distributed():
        return
    changes = changed_settings(share_from_rank_zero(settings), settings, but=OF_A_NODE, also=DURATIONS)
    for rank, others in enumerate(gather_on_all_ranks(changes)):
        if others:
            raise InputError(
                f"rank {rank} has other settings than rank 0: {', '.join(others)}; start all nodes with the same "
                "command and the same configuration files"
            )
