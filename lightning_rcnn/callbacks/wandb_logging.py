"""Weights & Biases logger that never blocks or ends a training."""

import json
import os
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, Literal

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn

from lightning_rcnn.callbacks.checkpoints import BEST, BestCheckpoint, NamedCheckpoint
from lightning_rcnn.callbacks.run_loggers import RunLogger, experiment_of_run, row_of
from lightning_rcnn.callbacks.wandb_artifacts import checkpoint_artifact, warned
from lightning_rcnn.callbacks.wandb_modes import choose_mode, require_known_mode, settings_of
from lightning_rcnn.callbacks.wandb_runs import agents_run, default_group, keep_run_id, run_id
from lightning_rcnn.data.workers import signals_blocked
from lightning_rcnn.files import atomic_write

BEST_VALIDATION = "wandb_best.json"
"""File in the run folder that holds the best validation, as the summary has it."""
DEFAULT_PROJECT = "lightning-rcnn"
STEP = "trainer/global_step"
"""Key of the step in each row, Lightning's; `epoch` stands beside it, and either can be the axis."""
HIGHEST = ("val/bbox/AP", "val/bbox/AP50", "val/segm/AP", "val/segm/AP50", "val/voc/AP50")
"""Figures whose summary is the highest value."""
F1_FIGURES = ("val/f1", "val/f1_threshold")
"""Figures of an analysis that the summary has of the best validation."""
LOWEST = ("val/loss",)
"""Figures whose summary is the lowest value."""
DATA_DIR = "WANDB_DATA_DIR"
"""Variable with the folder where W&B keeps copies of tables and artifacts until their upload, else the user's."""
VALIDATION = "val/"
"""Beginning of the names of a validation's figures."""


class DetectionWandbLogger(RunLogger, WandbLogger):
    """Logs to W&B: in the mode of `WANDB_MODE`, else online if there is a key, else offline.

    It never prompts, and if W&B does not answer the run starts offline with a warning. Files lie in the run folder,
    from where `wandb sync` uploads an offline run. A run folder is one W&B run, also when the training resumes: the
    file `wandb_run_id` holds its id. All that is logged at one step is one row of the history, and figures that are
    not finite are left out. The summary holds the best validation (`best/...`), with its F1 if it was analyzed, and the
    best AP (`max`). The tasks of a SLURM job array are one group.

    Args:
        project: W&B project; by default `WANDB_PROJECT`, else "lightning-rcnn".
        name: name of the run; by default `WANDB_NAME`, else the name of the run folder.
        entity: user or team.
        group: name shared by runs that belong together; by default `WANDB_RUN_GROUP`, else the array of a SLURM job.
        tags: tags to find the run by.
        notes: free text.
        save_dir: folder for id and files; by default the trainer's run folder (see `keep_in_run_folder`).
        log_model: upload `best.ckpt` and `last.ckpt` as artifacts at the end ("all": each time one is written).
        offline: log into files, also where there is a key.
        job_type: kind of run, to group by; by default `WANDB_JOB_TYPE`.

    Raises:
        InputError: W&B does not know the `WANDB_MODE`.
    """

    _data_dir: ClassVar[str | None] = None
    _started_id: ClassVar[str | None] = None
    """Of the run that a logger of this process started last."""

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
        offline: bool = False,
        job_type: str | None = None,
    ) -> None:
        require_known_mode()
        super().__init__(
            name=name,
            project=project or os.environ.get("WANDB_PROJECT", DEFAULT_PROJECT),
            log_model=log_model,
            entity=entity,
            group=group or default_group(os.environ),
            tags=tags,
            notes=notes,
            job_type=job_type,
        )
        self._stays_offline = offline
        self._given_project = project
        self._save_dir = None if save_dir is None else str(save_dir)
        self._position: tuple[int, int] | None = None
        self._f1: dict[str, float] = {}
        self._f1_step: int | None = None
        self._waits_for_training = False
        self._checkpoints: dict[str, NamedCheckpoint] = {}
        self._uploaded: dict[str, int] = {}
        self._last_validation: dict[str, Any] = {}
        self._chosen_id: str | None = None

    @property
    def version(self) -> str | None:
        """Id of the run, also before it starts: a `ModelCheckpoint` names its folder by it while a run is set up."""
        if self._chosen_id is None:
            self._chosen_id = run_id(Path(self._save_dir or "."))
        return self._chosen_id

    @property
    @experiment_of_run
    def experiment(self) -> Any:
        """The W&B run, started at first use; on other ranks than the first a dummy that does nothing."""
        # A process that Lightning spawned joins the run of the first one.
        if self._experiment is None and getattr(self, "_attach_id", None) is None:
            self._start()
        return super().experiment

    def use_folder(self, folder: Path) -> None:
        """Keep id and files in `folder`, unless `save_dir` was given; call this before the run starts."""
        if self._save_dir is None:
            self._save_dir, self._chosen_id = str(folder), None  # an id that was read before is of no folder

    def use_position(self, epoch: int, step: int) -> None:
        """Log where a training logs that has done so many steps: for `validate` and `test` of a checkpoint."""
        self._position = epoch, row_of(step)

    def wait_for_training(self) -> None:
        """Keep all that is logged offline until a training that still writes to the same run online has ended.

        W&B takes rows of a run from one process at a time: those of a second one overwrite rows of the first.
        """
        self._waits_for_training = True

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add figures to the row of a step; a row ends when the next one begins."""
        self._last_validation |= {name: value for name, value in metrics.items() if name.startswith(VALIDATION)}
        finite = {name: value for name, value in metrics.items() if not isinstance(value, float) or isfinite(value)}
        if self._position is not None:
            epoch, step = self._position
            finite["epoch"] = epoch
        if found := {name: finite[name] for name in F1_FIGURES if name in finite}:
            self._f1, self._f1_step = found, step
        run = self.experiment
        if step is None:
            run.log(finite)
            return
        # A resumed run takes no rows before those it has; what a training repeats is the same anyway.
        first = getattr(run, "starting_step", 0)
        run.log({**finite, STEP: step}, step=max(step, first))

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Note the best validation in the summary; upload `best.ckpt` and `last.ckpt` as artifacts if asked to."""
        if not isinstance(checkpoint_callback, NamedCheckpoint):
            super().after_save_checkpoint(checkpoint_callback)
            return
        self._checkpoints[checkpoint_callback.name] = checkpoint_callback
        if self._log_model == "all":
            self._upload(checkpoint_callback)
        if isinstance(checkpoint_callback, BestCheckpoint):
            best = {
                f"best/{checkpoint_callback.monitored}": checkpoint_callback.best_model_score,
                "best/epoch": checkpoint_callback.saved_epoch,
                "best/step": row_of(checkpoint_callback.saved_step),
            }
            self._note_best(best)
            if self._f1_step == best["best/step"]:
                self.summarize_f1()

    def summarize_f1(self) -> None:
        """Note the best F1 that was logged last, and its threshold, as those of the best validation."""
        self._note_best({name.replace("val/", "best/"): value for name, value in self._f1.items()})

    def _note_best(self, figures: Mapping[str, Any]) -> None:
        """Put figures of the best validation into the summary, and into a file for the run's next process."""
        self.experiment.summary.update(figures)
        path = Path(self._wandb_init["dir"]) / BEST_VALIDATION
        known = json.loads(path.read_text()) if path.exists() else {}
        with atomic_write(path) as file:
            file.write(json.dumps({**known, **figures}).encode())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Upload checkpoints if the training succeeded, and say how an offline run is uploaded."""
        super().finalize(status)
        if status == "success" and self._log_model:
            for name in sorted(self._checkpoints):
                self._upload(self._checkpoints[name])
        if command := self.sync_command():
            rank_zero_info(
                "The training still runs, and W&B takes rows from one process at a time. To add these when it has "
                f"ended: {command}"
                if self._waits_for_training
                else f"To upload all parts of this run to W&B: {command}"
            )

    def sync_command(self) -> str:
        """Return the command that uploads the run, with the parts from before each restart; empty if it is online."""
        run = self._experiment
        if run is None or not getattr(run, "offline", False):
            return ""
        folder = Path(self._wandb_init["dir"]) / "wandb"
        return f"wandb sync --id {run.id} {folder}/offline-run-*-{run.id}"

    def _upload(self, checkpoint: NamedCheckpoint) -> None:
        """Log a checkpoint file as an artifact, once each time it was written."""
        path, step = checkpoint.saved_path, row_of(checkpoint.saved_step)
        if path is None or not path.is_file() or self._uploaded.get(checkpoint.name) == path.stat().st_mtime_ns:
            return
        self._uploaded[checkpoint.name] = path.stat().st_mtime_ns
        facts: dict[str, Any] = {"epoch": checkpoint.saved_epoch, "step": step}
        best = self._checkpoints.get(BEST)
        if isinstance(best, BestCheckpoint) and best.monitored:
            score = best.best_model_score if checkpoint is best else self._last_validation.get(best.monitored)
            facts |= {"monitored": best.monitored, "score": score}
        run = self.experiment
        with warned(f"{path} as an artifact"):
            artifact = checkpoint_artifact(self._checkpoint_name or f"model-{run.id}", path, facts)
            aliases = ["latest", path.stem, f"epoch-{checkpoint.saved_epoch}", f"step-{step}"]
            run.log_artifact(artifact, aliases=aliases)

    def _start(self) -> None:
        """Start the run in the first mode that works; the last, "disabled", needs neither network nor disk."""
        folder = Path(self._save_dir or ".").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if os.environ.get(DATA_DIR) in (None, DetectionWandbLogger._data_dir):
            DetectionWandbLogger._data_dir = os.environ[DATA_DIR] = str(folder / "wandb")
        self._chosen_id = run_id(folder) if self._chosen_id is None else self._chosen_id
        keep_run_id(folder, self._chosen_id)
        self._wandb_init |= {
            "dir": str(folder),
            "id": self._chosen_id,
            "name": self._wandb_init["name"] or os.environ.get("WANDB_NAME") or folder.name,
        }
        if agents_run():  # W&B takes the agent's id and project, and warns of others
            self._wandb_init |= {"id": None, "project": self._given_project}
        # Lightning passes the default value, and W&B warns about any value.
        self._wandb_init.pop("anonymous", None)
        self._finish_other_run()
        for mode in dict.fromkeys((self._mode(), "offline", "disabled")):
            self._wandb_init |= {"mode": mode, "settings": settings_of(mode)}
            try:
                with signals_blocked():  # inherited by W&B's own process, which has to survive the signals of a job
                    run = super().experiment
                DetectionWandbLogger._started_id = run.id
                if (best := folder / BEST_VALIDATION).exists() and not self._waits_for_training:
                    run.summary.update(json.loads(best.read_text()))  # `wandb sync` keeps the last part's summary alone
                for names, summary in ((HIGHEST, "max"), (LOWEST, "min")):
                    for name in names:
                        run.define_metric(name, summary=summary, step_metric=STEP)
                if getattr(run, "offline", False):
                    rank_zero_info(f"W&B logs offline, into {folder / 'wandb'}.")
                return
            # No error of W&B may end a training.
            except Exception as error:
                rank_zero_warn(f"W&B does not start in mode {mode}: {' '.join(str(error).split())}")
                # Without this its service process keeps the id of the run that did not start.
                wandb.teardown()

    def _finish_other_run(self) -> None:
        """Finish the run of an earlier training in this process; Lightning would go on with it.

        A run that the program itself has open, as the functions of `wandb.agent` do, is meant to be used.
        """
        run = wandb.run
        if run is not None and run.id == DetectionWandbLogger._started_id != self._chosen_id:
            run.finish()

    def _mode(self) -> str:
        mode = choose_mode()
        return "offline" if (self._waits_for_training or self._stays_offline) and mode != "disabled" else mode
