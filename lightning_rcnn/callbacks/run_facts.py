"""Facts about a run that are no settings but decide its result: for the configuration that loggers show."""

from typing import Any

import lightning
import torch
from lightning.pytorch import Trainer

import lightning_rcnn
from lightning_rcnn.callbacks.code_version import code_version
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.global_batch import global_batch_size
from lightning_rcnn.data.index import ShardIndex

KEY = "run"
"""Group of the facts in the configuration of a logger."""


def run_facts(trainer: Trainer) -> dict[str, Any]:
    """Return world size, global batch size, versions, the git commit, and name, size and fingerprint of the data.

    If a rule scales the learning rate with the global batch, the scaled rate is one of the facts.
    """
    facts: dict[str, Any] = {
        "world_size": trainer.world_size,
        "versions": {
            "lightning_rcnn": lightning_rcnn.__version__,
            "torch": str(torch.__version__),  # a class of its own, which not every logger can write
            "lightning": lightning.__version__,
        },
    }
    if code := code_version():
        facts["code"] = code
    data = trainer.datamodule  # type: ignore[attr-defined]  # added later
    if isinstance(data, DetectionDataModule):
        facts["global_batch_size"] = global_batch_size(trainer)
        facts["data"] = {split: set_facts(index) for split, index in data.indexes.items()}
    if (rate := getattr(trainer.lightning_module, "scaled_learning_rate", None)) is not None:
        facts["learning_rate"] = rate
    return {KEY: facts}


def set_facts(index: ShardIndex) -> dict[str, Any]:
    """Return name, size and fingerprint of a data set."""
    return {
        "name": index.name,
        "images": len(index),
        "objects": sum(sum(shard.objects) for shard in index.shards),
        "fingerprint": index.fingerprint,
    }
