"""A training with the federated loss, from shards to the checkpoint."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

import lightning_rcnn
from lightning_rcnn import FasterRCNN, pack_samples
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.schedules import ConstantSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.roi_heads.class_losses import FederatedLoss
from lightning_rcnn.structures import Detections

SCHEDULE = partial(ConstantSchedule, warmup_steps=0)


class Recorder(FasterRCNN):
    def training_step(self, batch, batch_idx):
        self.seen = batch.targets
        return super().training_step(batch, batch_idx)


def detector(of_class=FasterRCNN):
    return of_class(
        ["cat", "dog", "eel"],
        category_ids=[3, 5, 9],
        backbone=ResNetFPN("resnet18", channels=8),
        rpn={"pre_nms_top_n": [50, 50], "post_nms_top_n": [20, 20]},
        box={"head": {"width": 16}, "class_loss": FederatedLoss(num_classes=2), "score_threshold": 0.0},
        preprocessing={"min_size": 64, "max_size": 96},
        schedule=SCHEDULE,
    )


@pytest.fixture
def lvis(tmp_path):
    """Packed images: 1 with a cat, without eels; 2 with a cat and a dog, of which there may be more."""
    keys = ({"neg_category_ids": [9, 77]}, {"neg_category_ids": [], "not_exhaustive_category_ids": [5]})
    images = [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 64} | own for n, own in enumerate(keys, 1)]
    for image in images:
        Image.new("RGB", (64, 64), (90, 20, 40)).save(tmp_path / image["file_name"])
    annotations = [
        {"id": n, "image_id": image, "category_id": category, "bbox": [4, 4, 30, 30]}
        for n, (image, category) in enumerate([(1, 3), (2, 3), (2, 5)], 1)
    ]
    names = ((3, "cat", "f"), (5, "dog", "r"), (9, "eel", "r"))
    categories = [{"id": number, "name": name, "frequency": frequency} for number, name, frequency in names]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "lvis.json").write_text(json.dumps(content))
    write_shards(coco_source(tmp_path, tmp_path / "lvis.json"), tmp_path / "packed")
    return str(tmp_path / "packed")


def fit(module, data, **options):
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        max_epochs=1,
        enable_checkpointing="callbacks" in options,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(module, datamodule=data)
    return trainer


def test_lists_and_numbers_of_classes_reach_the_loss(lvis, tmp_path):
    module = detector(Recorder)
    trainer = fit(module, DetectionDataModule(lvis, val=lvis, num_workers=0))
    order = module.seen.labels.max(dim=1).values.argsort()
    assert module.seen.negative_labels[order].tolist() == [[3] + [-1] * 7, [-1] * 8]
    assert module.seen.not_exhaustive_labels[order].tolist() == [[-1] * 8, [2] + [-1] * 7]
    assert module.box.class_loss.class_images.tolist() == [2, 1, 0]
    losses = {
        name: value.item() for name, value in trainer.callback_metrics.items() if name.endswith("loss_classifier")
    }
    assert losses.keys() == {"train/loss_classifier", "val/loss_classifier"}
    assert all(0 < value < 5 for value in losses.values())

    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = lightning_rcnn.load(tmp_path / "last.ckpt")
    assert loaded.box.class_loss.class_images.tolist() == [2, 1, 0]
    found = loaded.detect(torch.full((3, 64, 64), 90, dtype=torch.uint8), threshold=0.0)[0]
    assert len(found["scores"])


class Guesser(FasterRCNN):
    """Finds the cats where they are, and with a higher score a dog and an eel beside them."""

    validation_losses = False

    def _detections_and_proposals(self, batch):
        _, proposals = self.predict(batch.inputs)
        boxes = torch.tensor([[4.0, 4, 34, 34], [34, 34, 60, 60], [34, 34, 60, 60]])
        num = len(batch.records)
        scores, labels = torch.tensor([0.5, 0.9, 0.9]), torch.tensor([1, 2, 3])
        return Detections(*(each.expand(num, *each.shape) for each in (boxes, scores, labels))), proposals


def test_a_federated_set_is_validated_by_the_rules_of_lvis(lvis, tmp_path, caplog):
    caplog.set_level("INFO")
    module = detector(Guesser)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    trainer.validate(module, DetectionDataModule(val=lvis, num_workers=0, batch_size=2), verbose=False)
    assert "data.val: lvis is federated, so LVIS's rules score it" in caplog.text
    figures = module.last_metrics["bbox"]
    assert (figures["rules"], figures["max_detections"]) == ("LVIS", 300)
    # Nobody looked for the dog that is found in image 1, nor for eels in image 2, whose annotated dog is missed.
    expected = {"cat": 1, "dog": 0, "eel": math.nan}
    assert figures["per_class"] == pytest.approx(expected, nan_ok=True)
    assert module.last_metrics["voc"]["per_class"] == pytest.approx(expected, nan_ok=True)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert [logged[f"val/bbox/AP{group}"] for group in "rf"] == [0, pytest.approx(1)]
    assert not [name for name in logged if name.endswith("rules")]


def test_a_checkpoint_may_follow_the_rare_classes(lvis, tmp_path):
    follows = ModelCheckpoint(tmp_path, monitor="val/bbox/APf", mode="max")
    fit(
        detector(Guesser),
        DetectionDataModule(lvis, val=lvis, num_workers=0),
        limit_train_batches=1,
        callbacks=[follows],
    )
    assert float(follows.best_model_score) == pytest.approx(1)


def test_sets_of_two_kinds_are_not_validated_together(lvis, tmp_path):
    pack_samples(
        [{"image": np.zeros((64, 64, 3), np.uint8), "boxes": [[4, 4, 30, 30]], "labels": [name]} for name in ("dog",)],
        tmp_path / "other",
        classes=["cat", "dog", "eel"],
    )
    index = tmp_path / "other" / "index.json"
    packed = ShardIndex.from_json(index.read_text(), "")
    categories = ShardIndex.from_json(Path(lvis, "index.json").read_text(), "").categories
    shards = [replace(shard, image_ids=[77]) for shard in packed.shards]
    replace(packed, categories=categories, shards=shards).write(index.parent)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    with pytest.raises(InputError, match=r"data.val: other is annotated for all classes, and another set is federated"):
        trainer.validate(detector(), DetectionDataModule(val=[lvis, str(index.parent)], num_workers=0))


@pytest.mark.end_to_end
def test_another_loss_carries_no_lists(lvis):
    module = Recorder(["cat", "dog", "eel"], [3, 5, 9], backbone=ResNetFPN("resnet18", channels=8), schedule=SCHEDULE)
    fit(module, DetectionDataModule(lvis, num_workers=0), limit_train_batches=1)
    assert module.seen.negative_labels is None
    assert not any("class_loss" in name for name in module.state_dict())


def test_unknown_numbers_of_images_are_refused():
    loader = torch.utils.data.DataLoader([0])
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
    with pytest.raises(InputError, match="FederatedLoss needs to know how many images have each class"):
        trainer.fit(detector(), loader)
