"""Choose the rules by which a validation or test is scored: LVIS's for a federated set, COCO's for any other."""

from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.federated import Federation

_SPLITS = {"fit": "val", "validate": "val", "test": "test"}


class EvaluationRules(Callback):
    """Tells the detector's metrics of a federated set. Detectors add this callback, before their others.

    Raises:
        InputError: the set is made of several, of which only some are federated.
    """

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Set the rules; the data are already set up."""
        if stage in _SPLITS:
            pl_module.evaluation.follow(_federation(trainer, _SPLITS[stage]))


def _federation(trainer: Trainer, split: str) -> Federation | None:
    data = trainer.datamodule  # type: ignore[attr-defined]  # added later
    shard_set = data.shard_sets.get(split) if isinstance(data, DetectionDataModule) else None
    if shard_set is None or not shard_set.index.is_federated:
        return None
    if shard_set.exhaustive:
        raise InputError(
            f"data.{split}: {shard_set.exhaustive[0]} is annotated for all classes, and another set is federated; the "
            "rules of scoring differ, so give one of them at a time"
        )
    rank_zero_info(
        f"data.{split}: {shard_set.index.name} is federated, so LVIS's rules score it: a class counts in the images "
        "that were looked through for it."
    )
    return Federation(tuple(category.frequency for category in shard_set.index.categories))
