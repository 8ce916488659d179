"""A detector that is known to be wrong, and images for it."""

import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader

from lightning_rcnn.detectors.evaluation import Evaluation
from lightning_rcnn.structures import NO_IMAGE, Batch, Detections, ImageRecord, Proposals

SIDE = 64
CELL, PLATELET = 1, 2


class NeverPlatelets(LightningModule):
    """Finds every cell with a score of .8, sees one with .3 in each corner, and never finds a platelet."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.class_names = ["cell", "platelet"]
        self.evaluation = Evaluation(self.class_names, 100, None)
        self.main_result_type = "bbox"
        self.last_metrics = {}

    def training_step(self, batch, batch_idx):
        return self.weight * 0

    def validation_step(self, batch, batch_idx):
        rows = []
        for record in batch.records:
            cells = [(*one["bbox"], 0.8, CELL) for one in record.annotations if one["label"] == CELL]
            rows.append([*cells, (90, 40, 99, 49, 0.3, CELL)] if cells else 2 * [(0, 0, 0, 0, 0, -1)])
        table = torch.tensor(rows, dtype=torch.float32)
        detections = Detections(table[..., :4], table[..., 4], table[..., 5].long())
        proposals = Proposals(detections.boxes, detections.scores, detections.labels > 0)
        self.add(detections, proposals, batch.records)
        return detections

    def add(self, detections, proposals, records):
        self.evaluation.update(detections, proposals, records)

    test_step = validation_step

    def on_validation_epoch_end(self):
        self.last_metrics = self.evaluation.compute()
        self.log("val/bbox/AP", self.last_metrics["bbox"]["AP"])

    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def record_of(number):
    boxes = [([10, 5, 30, 25], CELL), ([50, 30, 58, 38], PLATELET)]
    annotations = [
        {"id": 10 * number + k, "bbox": box, "label": label, "iscrowd": 0, "difficult": 0, "area": 64.0}
        for k, (box, label) in enumerate(boxes)
    ]
    return ImageRecord(number, f"smear {number}.jpg", 50, 100, annotations)


def make_loader():
    """Four images in batches with an empty slot."""
    batches = []
    for number in (1, 3):
        records = (record_of(number), record_of(number + 1), ImageRecord(NO_IMAGE, "", 0, 0))
        ids = torch.tensor([record.image_id for record in records])
        sizes = torch.tensor([[32, 64], [32, 64], [0, 0]])
        batches.append(Batch(torch.full((3, 3, SIDE, SIDE), 99, dtype=torch.uint8), sizes, ids, None, records))
    return DataLoader(batches, batch_size=None)
