"""Paths of a run: its folder, and the checkpoint that `--ckpt_path` means.

A run folder holds `checkpoints/`, `config.yaml`, `metrics.json` and the files of loggers. `validate`, `test` and
`predict` write to a folder of that name inside it, so they overwrite nothing of the training.
"""

from pathlib import Path
from typing import Any

from lightning_rcnn.callbacks.checkpoints import BEST, FOLDER, LAST
from lightning_rcnn.callbacks.wandb_runs import agents_run
from lightning_rcnn.checkpoints.header import position_of, read_header
from lightning_rcnn.checkpoints.in_memory import memory_checkpoint
from lightning_rcnn.checkpoints.sources import checkpoint_file
from lightning_rcnn.errors import InputError
from lightning_rcnn.suggestions import did_you_mean

RUNS = Path("runs")
CONFIG = "config.yaml"


def choose_run_dir(given: str | None, config_files: list[Path], checkpoint: str | None, command: str) -> Path:
    """Return the run folder: as given; except for `fit`, that of the checkpoint; else runs/NAME OF THE CONFIG.

    Under `wandb agent`, which starts many runs with one configuration, the id of the run is added.
    """
    if given:
        return Path(given)
    if command != "fit" and checkpoint and Path(checkpoint).is_file():
        folder = Path(checkpoint).parent
        return folder.parent if folder.name == FOLDER else folder
    name = config_files[-1].stem if config_files else command
    if command == "fit" and (run := agents_run()):
        name += f"-{run}"
    return RUNS / name


def checkpoint_of(run_dir: Path, ckpt_path: str | None, command: str) -> Path | None:
    """Return the file that `--ckpt_path` means: a path, or `last` or `best` of the run.

    Ranks that start again within a job (`lightning_rcnn/healing`) resume from the newest, whatever it means.

    Returns:
        The file; None if `fit` has to start from scratch.

    Raises:
        InputError: the file does not exist, or a command that needs one got none.
    """
    in_memory = memory_checkpoint() if command == "fit" else None
    if in_memory is not None:
        ckpt_path = "last"
    if ckpt_path is None:
        if command == "fit":
            return None
        raise InputError(f"{command} needs a checkpoint: give --ckpt_path FILE, or `best` or `last` of --run_dir")
    named = {"last": LAST, "best": BEST}
    path = run_dir / FOLDER / named[ckpt_path] if ckpt_path in named else checkpoint_file(ckpt_path)
    # At the same step `last.ckpt` is at the same place of the training or a later one, before or after a validation.
    if in_memory is not None and (not path.is_file() or _step(in_memory) > _step(path)):
        return in_memory
    if path.is_file():
        return path
    if command == "fit" and ckpt_path == "last":
        return None
    siblings = [file.name for file in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
    raise InputError(f"--ckpt_path {ckpt_path}: no checkpoint {path}{did_you_mean(path.name, siblings)}")


def model_of_checkpoint(checkpoint: Path, command: str) -> dict[str, Any]:
    """Return the configuration of the model in a checkpoint; with `fit` nothing, as the files configure it.

    Raises:
        InputError: it has no training that `fit` could resume.
    """
    header = read_header(checkpoint)
    if command != "fit":
        return {"model": {"class_path": header.class_path, "init_args": header.hyperparameters}}
    if not header.has_training:
        raise InputError(
            f"{checkpoint}: holds a detector but no training to resume; start a training from it with "
            f"--model.weights {checkpoint}"
        )
    return {}


def refuse_to_overwrite(run_dir: Path, checkpoint: Path | None) -> None:
    """Protect the checkpoints of a run from another run that starts in the same folder.

    Args:
        run_dir: folder that `fit` is about to write into.
        checkpoint: file that it resumes from; None for a new training.

    Raises:
        InputError: the folder has checkpoints, and `fit` does not resume from one of them.
    """
    is_own = checkpoint is not None and checkpoint.parent.resolve() == (run_dir / FOLDER).resolve()
    resumes = is_own or (checkpoint is not None and checkpoint == memory_checkpoint())
    if not resumes and any((run_dir / FOLDER).glob("*.ckpt")):
        raise InputError(
            f"{run_dir} holds the checkpoints of a run: resume with --ckpt_path last, "
            "or name another folder with --run_dir"
        )


def _step(checkpoint: Path) -> int:
    """Return the step of a checkpoint. Times of two files tell nothing: a file server has a clock of its own."""
    return position_of(checkpoint)[1]
