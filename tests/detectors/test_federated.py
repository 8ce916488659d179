"""A training with the federated loss, from shards to the checkpoint."""

import json
from functools import partial

import pytest
import torch
from lightning import Trainer
from PIL import Image

import lightning_rcnn
from lightning_rcnn import FasterRCNN
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.schedules import ConstantSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.roi_heads.class_losses import FederatedLoss

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
    categories = [{"id": number, "name": name} for number, name in ((3, "cat"), (5, "dog"), (9, "eel"))]
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
        enable_checkpointing=False,
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
