"""The same figures while training and from the files that `predict` leaves."""

import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from pycocotools import mask

from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.callbacks import PredictionResults
from lightning_rcnn.cli import main
from lightning_rcnn.cli.commands.pack import pack_coco
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.structures import PADDING_LABEL, Detections, Proposals

HEIGHT, WIDTH = 120, 160


class Guesser(MaskRCNN):
    """Finds what the attribute `table` says, whatever the pixels are."""

    def __init__(self):
        super().__init__(
            ["cat", "dog"],
            category_ids=[17, 18],
            backbone=ResNetFPN("resnet18", channels=8),
            box={"head": {"width": 8}, "detections_per_image": 120},
            mask={"num_layers": 1, "width": 8},
            preprocessing={"min_size": 64},
        )
        self.validation_losses = False

    def _detections_and_proposals(self, batch):
        found = [self.table.get(image_id, self.table[None]) for image_id in batch.image_ids.tolist()]
        detections = Detections(*map(torch.stack, zip(*found, strict=True)))
        is_valid = detections.labels > 0
        return detections, Proposals(detections.boxes, detections.scores, is_valid)


def outline(x1, y1, x2, y2):
    """An ellipse in a box, of 20 points."""
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    x, y = (x1 + x2 + (x2 - x1) * np.cos(angles)) / 2, (y1 + y2 + (y2 - y1) * np.sin(angles)) / 2
    points = np.stack([x, y], axis=1).clip(0, [WIDTH, HEIGHT])
    return [points.round(2).flatten().tolist()]


def segmentation_of(kind, box):
    if kind == "polygon":
        return outline(*box)
    [rle] = mask.frPyObjects(outline(*box), HEIGHT, WIDTH)
    pixels = mask.decode(rle).flatten(order="F")
    borders = [0, *np.flatnonzero(np.diff(pixels)) + 1, pixels.size]
    return {"size": [HEIGHT, WIDTH], "counts": ([0] if pixels[0] else []) + np.diff(borders).tolist()}


@pytest.fixture
def truth():
    """Seven images with up to 12 ellipses as polygons and RLE, one of them a crowd; the last image has none."""
    draw = np.random.default_rng(0)
    annotations = []
    for image_id in range(40, 46):
        for _ in range(12):
            corner, size = draw.uniform(0, (WIDTH - 50, HEIGHT - 50)), draw.uniform(12, 50, 2)
            box = [*corner, *(corner + size)]
            kind = "polygon" if draw.random() < 0.5 else "rle"
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(draw.choice([17, 18])),
                    "bbox": [*corner.tolist(), *size.tolist()],
                    "area": float(size.prod() * 0.78),
                    "iscrowd": int(len(annotations) == 5),
                    "segmentation": segmentation_of("rle" if len(annotations) == 5 else kind, box),
                }
            )
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in range(40, 47)],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
        "annotations": annotations,
    }


@pytest.fixture
def table(truth):
    """Detections of each image: its objects, displaced, with noisy masks, and some that are none; 14 of 16 slots."""
    generator = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 28), torch.linspace(-1, 1, 28), indexing="ij")
    ellipse = (3 - 3 * (x**2 + y**2)).sigmoid()
    table = {None: (torch.zeros(16, 4), torch.zeros(16), torch.full((16,), PADDING_LABEL), torch.zeros(16, 28, 28))}
    for image in truth["images"]:
        objects = [entry for entry in truth["annotations"] if entry["image_id"] == image["id"]]
        boxes = torch.rand(16, 4, generator=generator) * 50
        boxes[: len(objects)] = torch.tensor([entry["bbox"] for entry in objects]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2] + 1
        boxes = (boxes + torch.randn(16, 4, generator=generator) * 2).clamp(min=0)
        labels = torch.randint(1, 3, (16,), generator=generator)
        labels[: len(objects)] = torch.tensor([entry["category_id"] - 16 for entry in objects])
        labels[14:] = PADDING_LABEL
        scores = torch.rand(16, generator=generator).sort(descending=True).values
        noise = torch.rand(16, 28, 28, generator=generator) * 0.4 - 0.2
        table[image["id"]] = boxes, scores, labels, (ellipse + noise).clamp(0, 1)
    return table


def test_predict_and_evaluate_give_the_figures_of_validate(truth, table, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for image in truth["images"]:
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / image["file_name"])
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    packed = str(tmp_path / "packed")
    pack_coco(tmp_path / "images", tmp_path / "truth.json", tmp_path / "packed", workers=1)

    detector = Guesser()
    detector.table = table
    data = DetectionDataModule(val=packed, predict=packed, batch_size=2, num_workers=0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(default_root_dir=tmp_path / "run", callbacks=[PredictionResults()], **quiet)
    trainer.validate(detector, data, verbose=False)
    trainer.predict(detector, data, return_predictions=False)

    for result_type in ("bbox", "segm"):
        figures = detector.last_metrics[result_type]
        assert 0.1 < figures["AP"] < 0.9
        files = ["--annotations", tmp_path / "truth.json", "--results", tmp_path / "run" / "results.json"]
        options = ["--type", result_type, "--json", tmp_path / "out.json", "--max_detections", 120]
        assert main(["evaluate", *map(str, files + options)]) == 0
        evaluated = json.loads((tmp_path / "out.json").read_text())[result_type]
        assert evaluated.pop("per_class") == pytest.approx(figures.pop("per_class"), abs=1e-6)
        assert evaluated.pop("rules") == figures.pop("rules") == "COCO"
        known = {name: None if np.isnan(value) else pytest.approx(value, abs=1e-6) for name, value in figures.items()}
        assert evaluated == known
        if result_type == "bbox":
            evaluated, voc = json.loads((tmp_path / "out.json").read_text())["voc"], detector.last_metrics["voc"]
            assert 0.1 < voc["AP50"] < 1
            assert list(evaluated) == list(voc)
            for name in ("AP50", "AP50_11_point", "per_class", "per_class_11_point"):
                assert evaluated[name] == pytest.approx(voc[name], abs=1e-6)
