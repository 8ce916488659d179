"""What `show` takes of a configuration of `fit`: model and data, and nothing that trains, logs or downloads."""

from pathlib import Path

from jsonargparse import Namespace

from lightning_rcnn.cli.output_paths import require_folder
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import without_weights

SHOW = "show"
_NOTHING = {"logger": False, "callbacks": None, "plugins": None, "profiler": None, "strategy": "auto"}


def leave_out_training(config: Namespace) -> None:
    """Take from a configuration, in place, what `show` must not build: loggers, callbacks, weights, validation data.

    Raises:
        InputError: there is no folder for the sheets, or it is not writable.
    """
    if config.out is None:
        raise InputError("no folder for the sheets: give --out DIR")
    require_folder(Path(config.out), "--out")
    config.trainer.update(Namespace(**_NOTHING))
    config.data["val"] = None
    for key, value in config.model.items(branches=False):
        if key.rpartition(".")[2] == "weights" and isinstance(value, str):
            config.model[key] = None
        elif isinstance(value, dict | list):
            config.model[key] = without_weights(value)
