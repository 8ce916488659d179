"""Detectors under Lightning's trainer with common options."""

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import BackboneFinetuning
from lightning.pytorch.cli import ReduceLROnPlateau as LightningPlateau
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from lightning_rcnn.callbacks.ema import EMA
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.schedules import ConstantSchedule, CosineSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "shards"
    write_shards(shapes_source(6, seed=0), folder, name="shapes", workers=1)
    return str(folder)


@pytest.fixture
def fit(tmp_path, shards):
    def run(detector, **options):
        defaults = {"max_epochs": 1, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            default_root_dir=tmp_path,
            **defaults | options,
        )
        trainer.fit(detector, DetectionDataModule(train=shards, val=shards, batch_size=2, num_workers=0))
        return trainer

    return run


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_gradients_can_be_clipped_and_accumulated_in_mixed_precision(make_detector, fit, optimizer):
    detector = make_detector(
        class_names=CLASS_NAMES, optimizer=part(optimizer, lr=0.02), schedule=part(CosineSchedule, warmup_steps=1)
    )
    before = detector.rpn.head.conv.weight.clone()
    trainer = fit(detector, precision="bf16-mixed", gradient_clip_val=1.0, accumulate_grad_batches=2)
    assert trainer.global_step == 2
    assert torch.isfinite(detector.rpn.head.conv.weight).all()
    assert not detector.rpn.head.conv.weight.equal(before)
    assert {"AP", "AP50", "per_class"} <= set(detector.last_metrics["bbox"])
    assert {"AP50", "AP50_11_point", "per_class", "per_class_11_point"} == set(detector.last_metrics["voc"])
    names = {"val/bbox/AP50", "val/voc/AP50", "val/voc/AP50_11_point", f"val/voc/per_class/{CLASS_NAMES[0]}"}
    assert names <= set(trainer.callback_metrics)
    assert f"val/{detector.main_result_type}/AP" == "val/bbox/AP"
    assert detector.last_metrics["bbox"]["max_detections"] == 100
    assert not [name for name in trainer.callback_metrics if "max_detections" in name], "a setting, and no curve"


@pytest.mark.end_to_end
def test_a_checkpoint_with_averaged_weights_loads_alone(make_detector, fit, tmp_path):
    detector = make_detector(class_names=CLASS_NAMES, schedule=part(ConstantSchedule, warmup_steps=0))
    trainer = fit(detector, callbacks=[EMA(decay=0.5)])
    trainer.save_checkpoint(tmp_path / "averaged.ckpt")
    loaded = FasterRCNN.load_from_checkpoint(tmp_path / "averaged.ckpt")
    assert loaded.class_names == list(CLASS_NAMES)
    for name, value in loaded.state_dict().items():
        assert value.equal(detector.state_dict()[name]), name


@pytest.mark.parametrize(("precision", "instead"), [("bf16-true", "bf16-mixed"), ("64-true", "32-true")])
def test_precision_of_other_boxes_is_refused(make_detector, fit, precision, instead):
    with pytest.raises(InputError, match=rf"^trainer\.precision {precision}: boxes are float32; use {instead}$"):
        fit(make_detector(class_names=CLASS_NAMES), precision=precision)


def test_frozen_weights_alone_are_refused(make_detector, fit):
    detector = make_detector(class_names=CLASS_NAMES)
    detector.freeze()
    with pytest.raises(InputError, match=r"^nothing to train: all weights are frozen; call `unfreeze`"):
        fit(detector)


@pytest.mark.parametrize("step", ["fit", "validate", "test", "predict"])
def test_a_loader_of_other_batches_is_refused(make_detector, step):
    """Of torchvision's lists of images and targets, as in its references."""
    detector = make_detector(class_names=CLASS_NAMES, schedule=part(ConstantSchedule, warmup_steps=0))
    sample = torch.zeros(3, 64, 64), {"boxes": torch.tensor([[0.0, 0.0, 9.0, 9.0]]), "labels": torch.tensor([1])}
    loader = DataLoader([sample] * 2, batch_size=2, collate_fn=lambda samples: tuple(zip(*samples, strict=True)))
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1}
    trainer = Trainer(accelerator="cpu", devices=1, enable_checkpointing=False, **options)
    with pytest.raises(InputError, match=r"^a detector takes a Batch, and this is a tuple: .* DetectionDataModule"):
        getattr(trainer, step)(detector, loader)
    with pytest.raises(InputError, match=r"this is a list: .* give images to `detect`"):
        detector([sample[0]])


def test_layers_that_join_a_schedule_later_are_refused_at_the_start(make_detector, fit):
    """torch's LambdaLR takes no more groups: the training would end at the first step after they joined."""
    from_start = make_detector(class_names=CLASS_NAMES, schedule=part(ConstantSchedule, warmup_steps=0))
    with pytest.raises(InputError, match="BackboneFinetuning adds layers to the optimizer, and ConstantSchedule has"):
        fit(from_start, callbacks=[BackboneFinetuning(1)], max_epochs=2)
    steps = make_detector(class_names=CLASS_NAMES, schedule=part(torch.optim.lr_scheduler.StepLR, step_size=9))
    trainer = fit(steps, callbacks=[BackboneFinetuning(1)], max_epochs=2)
    assert set(trainer.optimizers[0].param_groups[-1]["params"]) <= set(steps.backbone.parameters())


def test_a_schedule_without_an_end_is_refused(make_detector, fit):
    with pytest.raises(InputError, match="max_epochs"):
        fit(make_detector(class_names=CLASS_NAMES, schedule=part(CosineSchedule)), max_epochs=-1)


@pytest.mark.parametrize(
    ("schedule", "monitor"),
    [
        (part(ReduceLROnPlateau), "val/loss"),
        (part(ReduceLROnPlateau, mode="max"), "val/bbox/AP"),
        (part(LightningPlateau, monitor="val/loss_box"), "val/loss_box"),
    ],
)
def test_a_plateau_is_that_of_a_metric_of_its_direction(make_detector, fit, schedule, monitor):
    """torch's default mode is min: by AP it would lower the rate while AP rises."""
    trainer = fit(make_detector(class_names=CLASS_NAMES, schedule=schedule), limit_train_batches=1)
    assert [config.monitor for config in trainer.lr_scheduler_configs] == [monitor]


def test_a_plateau_of_losses_needs_losses(make_detector, fit):
    detector = make_detector(class_names=CLASS_NAMES, schedule=part(ReduceLROnPlateau))
    detector.validation_losses = False
    with pytest.raises(InputError, match=r"mode min follows val/loss, .* give it the mode max, .* val/bbox/AP$"):
        fit(detector)
