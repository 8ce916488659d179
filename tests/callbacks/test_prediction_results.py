import json
from types import SimpleNamespace

import torch
from pycocotools import mask as coco_mask

from lightning_rcnn.callbacks.prediction_results import PredictionResults
from lightning_rcnn.structures import NO_IMAGE, Batch, Detections, ImageRecord


def batch_of(*image_ids):
    records = tuple(ImageRecord(image_id, f"{image_id}.jpg", 10, 10) for image_id in image_ids)
    sizes = torch.full((len(records), 2), 10)
    return Batch(torch.zeros(len(records), 3, 32, 32), sizes, torch.tensor(image_ids), None, records)


def test_the_ids_are_those_of_the_data_set_and_empty_slots_are_left_out(tmp_path):
    trainer = SimpleNamespace(default_root_dir=tmp_path)
    model = SimpleNamespace(category_ids=[17, 18], class_names=["cat", "dog"], mask_paste="exact")
    callback = PredictionResults()
    callback.on_predict_start(trainer, model)
    detections = Detections(
        boxes=torch.tensor([[[1.0, 2.0, 4.0, 6.0], [0.0] * 4]]).expand(2, -1, -1),
        scores=torch.tensor([[0.5, 0.0]]).expand(2, -1),
        labels=torch.tensor([[2, -1]]).expand(2, -1),
    )
    callback.on_predict_batch_end(trainer, model, detections, batch_of(40, 30), 0)
    callback.on_predict_batch_end(trainer, model, detections, batch_of(20, NO_IMAGE), 1)
    callback.on_predict_end(trainer, model)
    results = json.loads((tmp_path / "results.json").read_text())
    expected = {"category_id": 18, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}
    assert results == [{"image_id": image_id, **expected} for image_id in (20, 30, 40)]
    names = json.loads((tmp_path / "images.json").read_text())
    assert [(image["id"], image["file_name"]) for image in names["images"]] == [(n, f"{n}.jpg") for n in (20, 30, 40)]
    assert names["categories"] == [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}]


def test_masks_are_written_beside_boxes(tmp_path):
    trainer = SimpleNamespace(default_root_dir=tmp_path)
    model = SimpleNamespace(category_ids=[17], class_names=["cat"], mask_paste="exact")
    callback = PredictionResults()
    callback.on_predict_start(trainer, model)
    boxes, labels = torch.tensor([[[1.0, 2.0, 4.0, 6.0], [0.0] * 4]]), torch.tensor([[1, -1]])
    detections = Detections(boxes, torch.tensor([[0.5, 0.0]]), labels, torch.ones(1, 2, 28, 28))
    callback.on_predict_batch_end(trainer, model, detections, batch_of(40), 0)
    callback.on_predict_end(trainer, model)
    [entry] = json.loads((tmp_path / "results.json").read_text())
    pixels = coco_mask.decode(entry["segmentation"])
    assert pixels.shape == (10, 10)
    assert pixels[2:6, 1:4].all()
    assert pixels.sum() == 12
    assert entry["bbox"] == [1.0, 2.0, 3.0, 4.0]
