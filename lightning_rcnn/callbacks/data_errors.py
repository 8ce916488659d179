"""A count of unreadable samples, lost objects, clipped boxes and used damaged images, over all workers and ranks."""

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

import rich
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from rich.markup import escape
from rich.table import Table

from lightning_rcnn.distributed import gather_on_rank_zero
from lightning_rcnn.structures import Batch, ImageRecord

Problems = dict[tuple[str, str], Counter[str]]
"""(Outcome, purpose of the data) -> the problem of each such sample, and how often it occurred."""
UNREADABLE, OBJECTS, USED = "left out as unreadable", "objects left out", "used although damaged"
CLIPPED = "boxes clipped to their images"
_PURPOSES = {
    RunningStage.TRAINING: "training",
    RunningStage.SANITY_CHECKING: "validation",
    RunningStage.VALIDATING: "validation",
    RunningStage.TESTING: "test",
    RunningStage.PREDICTING: "prediction",
}


class DataErrors(Callback):
    """Counts unreadable samples, lost objects, clipped boxes and damaged images, and shows them however the run ends.

    After an error the ranks cannot gather their counts; each shows its own.
    """

    def __init__(self) -> None:
        self._problems: Problems = {}

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the problems of a batch, of whichever stage."""
        stage = trainer.state.stage
        assert stage is not None
        for record in chain.from_iterable((record, *record.partners) for record in batch.records):
            for outcome, problem in _problems(record):
                if problem:
                    self._problems.setdefault((outcome, _PURPOSES[stage]), Counter())[problem] += 1

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = on_train_batch_end

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the problems of all ranks."""
        _print(gather_on_rank_zero(self._problems), "")
        self._problems = {}

    on_test_end = on_predict_end = on_train_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the problems of a validation; those within a training are shown at its end."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self.on_train_end(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Show the problems of this rank."""
        _print([self._problems], "" if trainer.world_size == 1 else f" by rank {trainer.global_rank}")
        self._problems = {}


def _problems(record: ImageRecord) -> tuple[tuple[str, str], ...]:
    """Pair each outcome with the record's problem, empty if it has none."""
    return (
        (UNREADABLE, record.problem),
        (OBJECTS, record.left_out),
        (CLIPPED, record.clipped),
        (USED, record.damage),
    )


def _print(parts: Iterable[Problems], whose: str) -> None:
    """Print a table for each outcome that occurred, with a row for each purpose."""
    total: Problems = {}
    for part in parts:
        for key, problems in part.items():
            total.setdefault(key, Counter()).update(problems)
    for outcome in (UNREADABLE, OBJECTS, CLIPPED, USED):
        rows = {purpose: problems for (its_outcome, purpose), problems in total.items() if its_outcome == outcome}
        if not rows:
            continue
        table = Table("data", "samples", "times", "first", title=f"{outcome}{whose}", title_justify="left")
        for purpose, problems in rows.items():
            table.add_row(purpose, str(len(problems)), str(problems.total()), escape(min(problems)))
        rich.get_console().print(table)
