"""Which loggers take images and reports, and how each of them gets them.

A logger of your own joins with `image_sink.register(YourLogger, function)`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial, singledispatch
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_rcnn.callbacks.mlflow_logging import DetectionMLFlowLogger
from lightning_rcnn.callbacks.run_loggers import PlacedLogger
from lightning_rcnn.callbacks.tensorboard_logging import add_picture
from lightning_rcnn.callbacks.wandb_images import ImageLog, ShownImage

ImageSink = Callable[[str, Sequence[ShownImage], Sequence[str], int], None]
"""Logs images: key, images, names of labels 1..K, step of the training."""


def image_sinks(loggers: Iterable[Logger]) -> list[ImageSink]:
    """Return what logs images to those loggers that take some; an error is a warning, as no logger ends a training."""
    found = ((logger, image_sink(logger)) for logger in loggers)
    return [partial(_try, logger, "images", sink) for logger, sink in found if sink is not None]


def send_report_to_each(loggers: Iterable[Logger], page: Path) -> None:
    """Upload the page of an error analysis to those loggers that take it; warn where that fails."""
    for logger in loggers:
        _try(logger, "report", send_report, logger, page)


@singledispatch
def image_sink(logger: Logger) -> ImageSink | None:
    """Return what logs images to a logger; None for loggers that take none."""
    return None


@image_sink.register
def _(logger: WandbLogger) -> ImageSink:
    return ImageLog(logger).log


@image_sink.register
def _(logger: TensorBoardLogger) -> ImageSink:
    def add(key: str, shown: Sequence[ShownImage], class_names: Sequence[str], step: int) -> None:
        at = logger.step_of(step) if isinstance(logger, PlacedLogger) else step
        for image in shown:
            add_picture(logger.experiment, f"{key}/{image.file_name}", image.picture, at)

    return add


@image_sink.register
def _(logger: DetectionMLFlowLogger) -> ImageSink:
    def add(key: str, shown: Sequence[ShownImage], class_names: Sequence[str], step: int) -> None:
        for number, image in enumerate(shown):
            logger.log_picture(f"{key}/{number} {image.file_name.replace('/', '_')}", image.picture, step)

    return add


@singledispatch
def send_report(logger: Logger, page: Path) -> None:
    """Upload the page of an error analysis; loggers of other classes take none.

    Args:
        logger: logger of any class.
        page: HTML file in the run folder.
    """


@send_report.register
def _(logger: DetectionMLFlowLogger, page: Path) -> None:
    logger.log_file(page)


def _try(logger: Logger, what: str, send: Callable[..., None], *arguments: Any) -> None:
    try:
        send(*arguments)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        rank_zero_warn(f"{type(logger).__name__}: the {what} of this validation are not logged ({reason})")
