"""Alerts in W&B, which sends them by mail or to Slack: a training has finished, stopped or lost ranks."""

from threading import Thread

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_rcnn.callbacks.checkpoints import BestCheckpoint
from lightning_rcnn.stop_signals import Preempted

FINISH_TIMEOUT = 10.0
"""Seconds that the last alert of a process may take."""


def alert(trainer: Trainer, title: str, text: str) -> None:
    """Send an alert from rank 0 through the trainer's W&B loggers; without any, do nothing."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and trainer.is_global_zero:
            try:
                logger.experiment.alert(title=title, text=text)
            # No error of W&B may end a training.
            except Exception as error:
                rank_zero_warn(f"W&B takes no alert ({type(error).__name__}: {error})")


def last_alert(trainer: Trainer, title: str, text: str) -> None:
    """Send an alert and finish the runs, before this process ends without the interpreter's own ending.

    W&B keeps the latest records in memory until a run is finished. The server may not answer: see `FINISH_TIMEOUT`.
    """

    def send() -> None:
        alert(trainer, title, text)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                logger.experiment.finish(exit_code=1)

    thread = Thread(target=send, daemon=True, name="last alert")
    thread.start()
    thread.join(FINISH_TIMEOUT)


class Alerts(Callback):
    """Sends an alert when a training ends, with its best validation, and when an error stops it.

    `Preemption` and `RankWatch`, which end a training in their own ways, send theirs themselves. Of a training that is
    refused before it begins nothing is sent: it has no run.
    """

    _has_begun = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the training was not refused."""
        self._has_begun = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell that the training has finished."""
        best = [
            f"; best {callback.monitored} {callback.best_score:.4f}"
            for callback in trainer.callbacks  # type: ignore[attr-defined]  # Lightning adds it later
            if isinstance(callback, BestCheckpoint) and callback.best_score is not None and callback.monitored
        ]
        alert(trainer, "training finished", f"after step {trainer.global_step}{''.join(best)}")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell the error that stopped the training."""
        if self._has_begun and trainer.training and not isinstance(exception, Preempted | KeyboardInterrupt):
            text = " ".join(str(exception).split()) or type(exception).__name__
            alert(trainer, "training stopped by an error", f"at step {trainer.global_step}: {text}")
