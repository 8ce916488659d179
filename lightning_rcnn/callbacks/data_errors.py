"""The samples and objects that a run left out, counted over all workers and ranks."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import rich
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.markup import escape
from rich.table import Table

from lightning_rcnn.distributed import gather_on_rank_zero
from lightning_rcnn.structures import Batch

Problems = dict[tuple[str, str], Counter[str]]
"""(What is left out, what the data are for) -> the problem of each such sample, and how often it was met."""
SAMPLES, OBJECTS = "left out as unreadable", "objects left out"


class DataErrors(Callback):
    """Counts samples, and objects of samples, that were left out, and shows them at the end, however the run ends.

    After an error the ranks cannot be asked any more; each then shows its own.
    """

    def __init__(self) -> None:
        self._problems: Problems = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count those of a training batch."""
        self._count("training", batch)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count those of a validation batch."""
        self._count("validation", batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count those of a test batch."""
        self._count("test", batch)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count those of a batch of prediction."""
        self._count("prediction", batch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what a training left out."""
        self._show()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what a validation left out that is no part of a training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._show()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what a test left out."""
        self._show()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what a prediction left out."""
        self._show()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Show what this rank left out."""
        _print([self._problems], "" if trainer.world_size == 1 else f" by rank {trainer.global_rank}")
        self._problems = {}

    def _count(self, purpose: str, batch: Batch) -> None:
        for record in batch.records:
            for kind, problem in ((SAMPLES, record.problem), (OBJECTS, record.left_out)):
                if problem:
                    self._problems.setdefault((kind, purpose), Counter())[problem] += 1

    def _show(self) -> None:
        _print(gather_on_rank_zero(self._problems), "")
        self._problems = {}


def _print(parts: Iterable[Problems], whose: str) -> None:
    """One table for samples and one for objects, with a row for each purpose; nothing where none was left out."""
    total: Problems = {}
    for part in parts:
        for key, problems in part.items():
            total.setdefault(key, Counter()).update(problems)
    for kind in (SAMPLES, OBJECTS):
        rows = {purpose: problems for (of_kind, purpose), problems in total.items() if of_kind == kind}
        if not rows:
            continue
        table = Table("data", "samples", "times", "first", title=f"{kind}{whose}", title_justify="left")
        for purpose, problems in rows.items():
            table.add_row(purpose, str(len(problems)), str(problems.total()), escape(min(problems)))
        rich.get_console().print(table)
