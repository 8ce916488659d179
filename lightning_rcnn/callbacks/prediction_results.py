"""What `predict` leaves behind."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.metrics.coco_results import coco_results, write_json
from lightning_rcnn.metrics.gathering import score_on_rank_zero
from lightning_rcnn.structures import NO_IMAGE, Batch, Detections

RESULTS = "results.json"


class PredictionResults(Callback):
    """Writes the detections of all ranks to `results.json` in the run's folder, in COCO's format, masks as RLE.

    Image and category ids are those of the data set, so that `lightning-rcnn evaluate` and others can score the file.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[int, list[dict[str, Any]]] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._held = {}

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Detections,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the detections of a batch."""
        category_ids: list[int] = pl_module.category_ids  # type: ignore[assignment]
        mask_paste: PasteRule = pl_module.mask_paste  # type: ignore[assignment]
        for slot, record in enumerate(batch.records):
            if record.image_id != NO_IMAGE:
                self._held[record.image_id] = coco_results(outputs, slot, record, category_ids, mask_paste)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write those of all ranks."""
        path = run_folder(trainer) / RESULTS

        def write(images: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
            write_json(path, [entry for image_id in sorted(images) for entry in images[image_id]])
            return {}

        score_on_rank_zero(self._held, write)
        rank_zero_info(f"Detections are in {path}.")
