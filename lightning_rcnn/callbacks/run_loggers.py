"""What our loggers have in common: their files lie in the run folder, and their errors do not end a training."""

import functools
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_rcnn.callbacks.run_folder import run_folder

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class RunLogger(Logger):
    """A logger that knows the run folder, and where a checkpoint stands that `validate` or `test` evaluates.

    It starts, and writes its first file, when something of it is used: Lightning looks at the experiments of all
    loggers before it sets up data, callbacks and model, and a run that one of these refuses leaves nothing.

    Attributes:
        has_started: whether something of it was used.
    """

    has_started = False

    @abstractmethod
    def use_folder(self, folder: Path) -> None:
        """Keep files in the run folder, unless another was given; call this before the first row is logged."""

    @abstractmethod
    def use_position(self, epoch: int, step: int) -> None:
        """Log where a training logs that has done so many steps: for `validate` and `test` of a checkpoint."""


class PlacedLogger(RunLogger):
    """Keeps the run folder and the position."""

    _run_folder = Path()
    _position: tuple[int, int] | None = None

    def use_folder(self, folder: Path) -> None:
        """Keep files in the run folder, unless another was given; call this before the first row is logged."""
        self._run_folder = folder

    def use_position(self, epoch: int, step: int) -> None:
        """Log where a training logs that has done so many steps: for `validate` and `test` of a checkpoint."""
        self._position = epoch, row_of(step)

    def step_of(self, step: int) -> int:
        """Return the step at which to log: that of the checkpoint, if one is evaluated."""
        return step if self._position is None else self._position[1]

    def placed(self, metrics: Mapping[str, Any], step: int | None) -> tuple[dict[str, Any], int | None]:
        """Return figures and step as they are to be logged."""
        if self._position is None:
            return dict(metrics), step
        epoch, position = self._position
        return {**metrics, "epoch": epoch}, position


class LocalLogger(PlacedLogger):
    """A logger of files: in a folder of the run folder, or below `save_dir` in a folder of the run's name.

    Attributes:
        subfolder: folder in the run folder.
    """

    subfolder: ClassVar[str]
    _given_folder: str | None = None
    _given_name: str | None = None

    @property
    def save_dir(self) -> str:
        """Folder of all runs if one was given, else the one in the run folder."""
        if self._given_folder is None:
            return str(self._run_folder / self.subfolder)
        return self._given_folder

    @property
    def root_dir(self) -> str:
        """Folder of the run."""
        if self._given_name is None:
            return self.save_dir if self._given_folder is None else os.path.join(self.save_dir, self._run_folder.name)
        return os.path.join(self.save_dir, self._given_name)


class ExperimentAtUse:
    """Stands for the experiment of a logger until something of it is used, read or set, which starts the logger."""

    def __init__(self, logger: RunLogger) -> None:
        vars(self)["_logger"] = logger

    def __getattr__(self, name: str) -> Any:
        return getattr(_started(self._logger), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_started(self._logger), name, value)

    @property  # type: ignore[misc]  # asked by isinstance, never set
    def __class__(self) -> type:
        return type(_started(self._logger))


def _started(logger: RunLogger) -> Any:
    logger.has_started = True
    return logger.experiment  # type: ignore[attr-defined]  # of each logger


def experiment_of_run(start: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a method a logger's `experiment`, which starts at its first use; on other ranks than the first a dummy."""

    @rank_zero_experiment
    @functools.wraps(start)
    def experiment(logger: Any) -> Any:
        return start(logger) if logger.has_started else ExperimentAtUse(logger)

    return experiment


def only_warns(method: Callable[Parameters, Result]) -> Callable[Parameters, Result | None]:
    """Make a logger's method warn where it would raise: no error of a logger may end a training."""

    @functools.wraps(method)
    def warning_method(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result | None:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            name = type(args[0]).__name__
            rank_zero_warn(f"{name}: {method.__name__} failed ({type(error).__name__}: {' '.join(str(error).split())})")
            return None

    return warning_method


def row_of(num_steps: int) -> int:
    """Return the step of the last row after so many steps: Lightning counts them from 0 in logs."""
    return max(0, num_steps - 1)


def keep_in_run_folder(trainer: Trainer, folder: Path | None = None) -> None:
    """Make the trainer's loggers use a folder; a logger does not know its trainer.

    Args:
        trainer: the trainer.
        folder: by default its run folder.
    """
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            logger.use_folder(folder or run_folder(trainer))


def log_at(trainer: Trainer, epoch: int, step: int) -> None:
    """Make the trainer's loggers log at the epoch and step of a checkpoint."""
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            logger.use_position(epoch, step)
