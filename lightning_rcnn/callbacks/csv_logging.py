"""CSV logger that continues its file after a restart."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lightning_rcnn.callbacks.run_loggers import LocalLogger, experiment_of_run, only_warns


class ContinuedWriter(ExperimentWriter):
    """Appends to the file of an earlier process, which Lightning's writer deletes."""

    def _check_log_dir_exists(self) -> None:
        if self._fs.isfile(self.metrics_file_path):
            with self._fs.open(self.metrics_file_path, "r", newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])


class DetectionCSVLogger(LocalLogger, CSVLogger):
    """Logs to `csv/metrics.csv` in the run folder, and settings to `csv/hparams.yaml`.

    A training that resumes appends; steps that it repeats are there twice.

    Args:
        save_dir: folder of all runs; by default the run folder, with a subfolder `csv`.
        name: folder of the run in `save_dir`; by default the name of the run folder.
        version: folder in that; by default none.
        prefix: text before each key.
        flush_logs_every_n_steps: steps between two writes; figures of steps and validations are written at once.
    """

    subfolder = "csv"

    def __init__(
        self,
        save_dir: str | Path | None = None,
        name: str | None = None,
        version: int | str | None = None,
        prefix: str = "",
        flush_logs_every_n_steps: int = 100,
    ) -> None:
        super().__init__(
            save_dir=save_dir or "",
            name=name or "",
            version="" if version is None else version,
            prefix=prefix,
            flush_logs_every_n_steps=flush_logs_every_n_steps,
        )
        self._given_folder, self._given_name = None if save_dir is None else os.fspath(save_dir), name

    @property
    @experiment_of_run
    def experiment(self) -> Any:
        """The writer of the file; on other ranks than the first a dummy that does nothing."""
        if self._experiment is None:
            self._experiment = self._start() or DummyExperiment()  # type: ignore[assignment]
        return self._experiment

    @only_warns
    def _start(self) -> ContinuedWriter:
        return ContinuedWriter(self.log_dir)

    @rank_zero_only
    @only_warns
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row."""
        super().log_metrics(*self.placed(metrics, step))

    @rank_zero_only
    @only_warns
    def log_hyperparams(self, params: Any = None) -> None:
        """Write the settings."""
        super().log_hyperparams(params)

    @rank_zero_only
    @only_warns
    def save(self) -> None:
        """Write the rows that wait."""
        super().save()

    @rank_zero_only
    @only_warns
    def finalize(self, status: str) -> None:
        """Write the rows that wait."""
        super().finalize(status)
