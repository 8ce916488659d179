"""TensorBoard logger in the run folder."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from PIL import Image

from lightning_rcnn.callbacks.flat_settings import flat_settings
from lightning_rcnn.callbacks.run_loggers import LocalLogger, experiment_of_run, only_warns
from lightning_rcnn.errors import require_extra

PACKAGE = EXTRA = "tensorboard"
TABLE = ("val/bbox/AP", "val/segm/AP", "val/loss")
"""Figures beside the settings on TensorBoard's page of hyperparameters."""


class DetectionTensorBoardLogger(LocalLogger, TensorBoardLogger):
    """Logs to `tensorboard/` in the run folder, also after a restart: `tensorboard --logdir runs` shows all runs.

    Args:
        save_dir: folder of all runs; by default the run folder, with a subfolder `tensorboard`.
        name: folder of the run in `save_dir`; by default the name of the run folder.
        version: folder in that; by default none.
        prefix: text before each key.
        max_queue: figures that wait at most before they are written.
        flush_secs: seconds between two writes.

    Raises:
        InputError: the package tensorboard is missing.
    """

    subfolder = "tensorboard"

    def __init__(
        self,
        save_dir: str | Path | None = None,
        name: str | None = None,
        version: int | str | None = None,
        prefix: str = "",
        max_queue: int = 10,
        flush_secs: int = 120,
    ) -> None:
        require_extra(PACKAGE, EXTRA, "TensorBoardLogger")
        super().__init__(
            save_dir=save_dir or "",
            name=name or "",
            version="" if version is None else version,
            prefix=prefix,
            max_queue=max_queue,
            flush_secs=flush_secs,
        )
        self._given_folder, self._given_name = None if save_dir is None else os.fspath(save_dir), name

    @property
    @experiment_of_run
    def experiment(self) -> Any:
        """The `SummaryWriter`; on other ranks than the first a dummy that does nothing."""
        if self._experiment is None:
            self._experiment = self._start() or DummyExperiment()  # type: ignore[assignment]
        return self._experiment

    @only_warns
    def _start(self) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(log_dir=self.log_dir, **self._kwargs)

    @rank_zero_only
    @only_warns
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a point to each curve."""
        super().log_metrics(*self.placed(metrics, step))

    @rank_zero_only
    @only_warns
    def log_hyperparams(self, params: Any, metrics: Any = None, step: int | None = None) -> None:
        """Add the settings to the page of hyperparameters, beside the figures of `TABLE`.

        Lightning logs a made-up figure with them, which would be a curve of its own. TensorBoard shows the settings of
        the first start.
        """
        from torch.utils.tensorboard.summary import hparams

        writer = _file_writer(self.experiment)
        for summary in hparams(flat_settings(params), dict.fromkeys(TABLE, 0)):
            writer.add_summary(summary)

    @rank_zero_only
    @only_warns
    def save(self) -> None:
        """Write what waits; the settings as a file are the run's `config.yaml`."""
        self.experiment.flush()

    @rank_zero_only
    @only_warns
    def finalize(self, status: str) -> None:
        """Write what waits, and close the file."""
        super().finalize(status)


def add_picture(writer: Any, tag: str, picture: Image.Image, step: int) -> None:
    """Add a picture as JPEG; `SummaryWriter.add_image` writes PNG, three times as large.

    Args:
        writer: torch's `SummaryWriter`.
        tag: name of the picture; those of one name are one slider.
        picture: in RGB.
        step: step of the training.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90)
    image = Summary.Image(
        height=picture.height, width=picture.width, colorspace=3, encoded_image_string=jpeg.getvalue()
    )
    _file_writer(writer).add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


def _file_writer(writer: Any) -> Any:
    """Return what writes summaries that `SummaryWriter` has no method for."""
    return writer._get_file_writer() or DummyExperiment()
