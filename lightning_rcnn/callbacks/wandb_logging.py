"""Weights & Biases that never stands in the way of a training."""

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import wandb
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.data.workers import signals_blocked
from lightning_rcnn.errors import InputError
from lightning_rcnn.suggestions import did_you_mean

RUN_ID = "wandb_run_id"
"""File in the run folder."""
DEFAULT_PROJECT = "lightning-rcnn"
INIT_TIMEOUT = 30.0
"""Seconds until a run that was to be online starts offline; W&B's own 90 are long where a cluster has no way out."""
MODES = ("online", "offline", "disabled", "shared", "run", "dryrun")
"""What W&B accepts in `WANDB_MODE`; the last two are old names of the first two."""
FINISH_TIMEOUT = 300.0
"""Seconds that the end of a run may wait for uploads; what is left lies in the run folder, for `wandb sync`."""


class DetectionWandbLogger(WandbLogger):
    """Logs to W&B: as `WANDB_MODE` says, else online where there is a key, else offline.

    It asks nothing, and where W&B does not answer the run starts offline, with a warning. Files lie in the run folder,
    from where `wandb sync` uploads an offline run. One run folder is one W&B run, also when the training resumes:
    its id stands in `wandb_run_id` there.

    Args:
        project: by default `WANDB_PROJECT`, else "lightning-rcnn".
        name: of the run; by default `WANDB_NAME`, else that of the run folder.
        entity: user or team.
        group: of runs that belong together.
        tags: to find the run by.
        notes: for people.
        save_dir: folder for id and files; by default the trainer's run folder (see `keep_in_run_folder`).
        log_model: upload `best.ckpt` and `last.ckpt` as artifacts at the end ("all": each time one is written).

    Raises:
        InputError: `WANDB_MODE` is none that W&B has.
    """

    def __init__(
        self,
        project: str | None = None,
        name: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        save_dir: str | Path | None = None,
        log_model: Literal["all"] | bool = False,
    ) -> None:
        require_known_mode()
        super().__init__(
            name=name,
            project=project or os.environ.get("WANDB_PROJECT", DEFAULT_PROJECT),
            log_model=log_model,
            entity=entity,
            group=group,
            tags=tags,
            notes=notes,
        )
        self._save_dir = None if save_dir is None else str(save_dir)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, started when first asked for; on other ranks than the first a stand-in that does nothing."""
        # A process that Lightning spawned joins the run of the first one.
        if self._experiment is None and getattr(self, "_attach_id", None) is None:
            self._start()
        return super().experiment

    def use_folder(self, folder: Path) -> None:
        """Keep id and files in `folder`, unless `save_dir` was given; to be called before the run starts."""
        self._save_dir = self._save_dir or str(folder)

    def _start(self) -> None:
        """Start the run in the first mode that works; "disabled", the last one, needs neither network nor disk."""
        folder = Path(self._save_dir or ".").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self._wandb_init |= {
            "dir": str(folder),
            "id": run_id(folder),
            "name": self._wandb_init["name"] or os.environ.get("WANDB_NAME") or folder.name,
            "settings": wandb.Settings(init_timeout=INIT_TIMEOUT, finish_timeout=FINISH_TIMEOUT),
        }
        # Lightning's value for it is the default, and W&B warns of any.
        self._wandb_init.pop("anonymous", None)
        for mode in dict.fromkeys((choose_mode(), "offline", "disabled")):
            self._wandb_init["mode"] = mode
            try:
                with signals_blocked():  # in W&B's own process, which has to outlive the signals of a job
                    _ = super().experiment
                return
            # Whatever W&B stumbles on, the training is worth more than its log.
            except Exception as error:
                rank_zero_warn(f"W&B does not start in mode {mode}: {' '.join(str(error).split())}")
                # Else its service, a process of its own, holds on to the id of the run that did not start.
                wandb.teardown()


def require_known_mode() -> None:
    """See that `WANDB_MODE` is one, if it is set.

    Raises:
        InputError: it is empty or unknown; W&B would not start, and nothing would be logged.
    """
    given = os.environ.get("WANDB_MODE")
    if given == "":
        raise InputError("WANDB_MODE is empty: unset it, or set online, offline or disabled")
    if given is not None and given not in MODES:
        raise InputError(f"WANDB_MODE {given!r} is none of online, offline, disabled{did_you_mean(given, MODES)}")


def choose_mode() -> str:
    """What `WANDB_MODE` says, but "online" only where W&B finds a key, else "offline". It asks nobody for one."""
    given = os.environ.get("WANDB_MODE")
    if given not in (None, "online", "run"):
        return given
    try:
        # Without a look at the server, which waits long where there is no way to it.
        has_key = wandb.login(prompt=False, verify=False)
    except Exception as error:
        rank_zero_warn(f"W&B cannot use its key, and logs offline: {' '.join(str(error).split())}")
        return "offline"
    if given and not has_key:
        rank_zero_warn("WANDB_MODE is online, but W&B has no key, and logs offline: set WANDB_API_KEY")
    return "online" if has_key else "offline"


def run_id(folder: Path) -> str:
    """The W&B id of the run in `folder`: made on the first call, or `WANDB_RUN_ID`, and the same ever after."""
    path = folder / RUN_ID
    if path.exists() and (known := path.read_text().strip()):
        return known
    new = os.environ.get("WANDB_RUN_ID") or uuid.uuid4().hex[:12]
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(new + "\n")
    partial.replace(path)
    return new


def keep_in_run_folder(trainer: Trainer) -> None:
    """Tell the trainer's `DetectionWandbLogger`s its run folder; a logger does not know its trainer."""
    for logger in trainer.loggers:
        if isinstance(logger, DetectionWandbLogger):
            logger.use_folder(run_folder(trainer))
