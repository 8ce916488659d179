"""The results files of `predict`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.callbacks.run_folder import run_folder
from lightning_rcnn.evaluation.coco_results import NAMES_FILE, coco_results, names_behind_ids, write_json
from lightning_rcnn.evaluation.gathering import score_on_rank_zero
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.structures import NO_IMAGE, Batch, Detections, ImageRecord

RESULTS = "results.json"


class PredictionResults(Callback):
    """Writes the detections of all ranks to `results.json` in the run's folder, in COCO's format, masks as RLE.

    Image and category ids are those of the packed set, so that `lightning-rcnn evaluate` and other tools can score the
    file. `images.json` beside it maps them to file and class names, for annotations with other ids.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[int, tuple[ImageRecord, list[dict[str, Any]]]] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the detections of a previous run."""
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
        """Keep the detections of a batch until the end."""
        category_ids: list[int] = pl_module.category_ids  # type: ignore[assignment]
        mask_paste: PasteRule = pl_module.mask_paste  # type: ignore[assignment]
        for slot, record in enumerate(batch.records):
            if record.image_id != NO_IMAGE:
                entries = coco_results(outputs, slot, record, category_ids, mask_paste)
                self._held[record.image_id] = replace(record, annotations=[]), entries

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the detections of all ranks."""
        path = run_folder(trainer) / RESULTS
        category_ids: list[int] = pl_module.category_ids  # type: ignore[assignment]
        class_names: list[str] = pl_module.class_names  # type: ignore[assignment]

        def write(parts: Iterable[dict[int, tuple[ImageRecord, list[dict[str, Any]]]]]) -> dict[str, Any]:
            images = {image_id: image for part in parts for image_id, image in part.items()}
            records = [images[image_id][0] for image_id in sorted(images)]
            write_json(path, [entry for image_id in sorted(images) for entry in images[image_id][1]])
            write_json(path.with_name(NAMES_FILE), names_behind_ids(records, category_ids, class_names))
            return {}

        score_on_rank_zero(self._held, write)
        rank_zero_info(f"Detections are in {path}.")
