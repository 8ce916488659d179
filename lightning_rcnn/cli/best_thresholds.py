"""The scores with the best F1 of an evaluation, stored in the checkpoint that it evaluated."""

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn

from lightning_rcnn.checkpoints.header import write_thresholds
from lightning_rcnn.cli.run_lock import briefly_held


@rank_zero_only
def store_thresholds(thresholds: dict[str, Any], checkpoint: Path, written_at: int, run_dir: Path) -> None:
    """Write thresholds into a checkpoint, for `detect --threshold best` and `best_per_class`.

    Leave a checkpoint alone, with a warning, if a training has replaced it or may replace it now.

    Args:
        thresholds: as in `CheckpointHeader`; nothing is written if empty.
        checkpoint: file that was evaluated.
        written_at: modification time of that file when it was read, nanoseconds.
        run_dir: folder of its run.
    """
    if not thresholds:
        return
    with briefly_held(run_dir) as is_free:
        if not is_free or checkpoint.stat().st_mtime_ns != written_at:
            rank_zero_warn(f"{checkpoint}: a training writes there, so the best threshold is not stored in it")
            return
        try:
            write_thresholds(checkpoint, thresholds)
        except OSError as error:
            rank_zero_warn(f"{checkpoint}: the best threshold is not stored in it ({error.strerror or error})")
        else:
            rank_zero_info(f"{checkpoint} holds the score {thresholds['score']:.3f} for detect --threshold best.")
