"""The global batch: the images of an optimizer step."""

from lightning.pytorch import Trainer

from lightning_rcnn.data.datamodule import DetectionDataModule


def global_batch_size(trainer: Trainer) -> int | None:
    """Return the number of images of an optimizer step, on all devices and over all accumulated batches.

    Args:
        trainer: trainer with its data module.

    Returns:
        The number; None if the data do not come from a `DetectionDataModule`.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]  # added later
    if not isinstance(data, DetectionDataModule):
        return None
    return data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
