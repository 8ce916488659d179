import json
import time
import warnings

import numpy as np
import pytest
import torch
import wandb
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch.utils.data import DataLoader

from lightning_rcnn.callbacks import detection_images
from lightning_rcnn.callbacks.detection_images import FILE_NAME, LOG_KEY, DetectionImages
from lightning_rcnn.callbacks.wandb_logging import DetectionWandbLogger
from lightning_rcnn.errors import InputError
from lightning_rcnn.structures import NO_IMAGE, PADDING_LABEL, Batch, Detections, ImageRecord
from lightning_rcnn.visualization import draw_objects


class StubDetector(LightningModule):
    """Finds in every image one "cat" at (20, 10, 60, 50) in the original frame, and one below the threshold."""

    def __init__(self):
        super().__init__()
        self.class_names = ["cat", "dog"]
        self.mask_paste = "exact"
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(torch.ones(1)).sum()

    def validation_step(self, batch, batch_idx):
        num = len(batch.records)
        boxes = torch.tensor([[20.0, 10, 60, 50], [0, 0, 5, 5], [0, 0, 0, 0]]).expand(num, 3, 4)
        scores = torch.tensor([0.9, 0.3, 0.0]).expand(num, 3)
        return Detections(boxes, scores, torch.tensor([1, 2, PADDING_LABEL]).expand(num, 3))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class MaskStubDetector(StubDetector):
    """The same, each with a mask that is the left half of its box."""

    def validation_step(self, batch, batch_idx):
        detections = super().validation_step(batch, batch_idx)
        masks = (torch.arange(28) < 14).float().expand(*detections.labels.shape, 28, 28)
        return detections._replace(masks=masks)


def make_batch(ids, size=(50, 100), original=(100, 200), dtype=torch.uint8, first_annotation=None):
    annotation = {"bbox": [20.0, 10.0, 60.0, 50.0], "label": 1, "iscrowd": 0} | (first_annotation or {})
    crowd = {"bbox": [100.0, 20.0, 200.0, 100.0], "label": 2, "iscrowd": 1}
    records = tuple(
        ImageRecord(NO_IMAGE, "", 0, 0)
        if image_id == NO_IMAGE
        else ImageRecord(image_id, f"image-{image_id}.jpg", *original, [annotation, crowd])
        for image_id in ids
    )
    images = torch.full((len(ids), 3, max(64, size[0]), max(128, size[1])), 200).to(dtype)
    sizes = torch.tensor([(0, 0) if image_id == NO_IMAGE else size for image_id in ids])
    return Batch(images, sizes, torch.tensor(ids), None, records)


def fit(tmp_path, batches, callback=None, detector=None, **options):
    arguments = {"max_epochs": 1, "logger": False, "num_sanity_val_steps": 0} | options
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=[callback or DetectionImages()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )
    loaders = [DataLoader(items, batch_size=None) for items in ([torch.ones(1)], batches)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        trainer.fit(detector or StubDetector(), *loaders)
    return trainer


def record_captions(monkeypatch):
    captions, compare = [], detection_images.compare

    def recording(image, ground_truth, detections, class_names, both):
        captions.append(both)
        return compare(image, ground_truth, detections, class_names, both)

    monkeypatch.setattr(detection_images, "compare", recording)
    return captions


def test_one_sheet_is_kept_and_shows_the_first_images(tmp_path, monkeypatch):
    captions = record_captions(monkeypatch)
    fit(tmp_path, [make_batch([NO_IMAGE, 1, 2]), make_batch([3, 4])], DetectionImages(num_images=3), max_epochs=2)
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["validation.jpg"]
    shown = [f"image-{i}.jpg · ground truth, 2" for i in (1, 2, 3)]
    assert [left for left, _ in captions] == shown * 2
    assert {right for _, right in captions} == {"detections with a score from 0.5 up, 1"}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_boxes_lie_where_they_belong_in_the_resized_frame(tmp_path, dtype):
    fit(tmp_path, [make_batch([1], dtype=dtype)])
    pixels = np.asarray(Image.open(tmp_path / FILE_NAME)).astype(int)
    # The gray image of 100 x 50 is shown as 640 x 320: two gray areas, ground truth on the left.
    is_gray = (abs(pixels - 200).max(axis=2) < 6).mean(axis=0) > 0.3
    starts = np.flatnonzero(is_gray[1:] & ~is_gray[:-1]) + 1
    rows = np.flatnonzero((abs(pixels - 200).max(axis=2) < 6).mean(axis=1) > 0.3)
    orange = np.array([230, 159, 0])
    is_orange = abs(pixels - orange).max(axis=2) < 60
    # (20, 10, 60, 50) in 200 x 100 is (64, 32, 192, 160) in 640 x 320.
    for left in (starts[0], starts[0] + 652):
        inside = is_orange[rows[0] : rows[0] + 320, left : left + 640]
        assert inside[50:150, 62:69].any(axis=1).all()
        assert inside[50:150, 187:194].any(axis=1).all()
        assert inside[155:162, 70:180].any(axis=0).all()
        assert not inside[50:150, 72:184].any()


def test_nothing_is_drawn_in_the_sanity_check_nor_in_a_trial_run(tmp_path):
    trainer = fit(tmp_path, [make_batch([1])], num_sanity_val_steps=1, limit_train_batches=1, check_val_every_n_epoch=5)
    assert trainer.global_step == 1
    fit(tmp_path, [make_batch([1])], fast_dev_run=True)
    assert not (tmp_path / "images").exists()


def test_images_and_boxes_go_to_wandb_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=tmp_path, project="test")
    fit(tmp_path, [make_batch([7, NO_IMAGE])], logger=logger)
    wandb.finish()
    [image] = tmp_path.glob("wandb/offline-run-*/files/media/images/val/images*.jpg")
    assert Image.open(image).size == (100, 50)
    boxes = [json.loads(path.read_text())["box_data"] for path in tmp_path.rglob("*.boxes2D.json")]
    predictions, ground_truth = sorted(boxes, key=lambda side: "scores" in side[0], reverse=True)
    expected = {"minX": 10, "minY": 5, "maxX": 30, "maxY": 25}
    assert predictions[0]["position"] == ground_truth[0]["position"] == expected
    assert predictions[0]["scores"] == {"score": pytest.approx(0.9)}
    assert [one["box_caption"] for one in ground_truth] == ["cat", "dog (crowd)"]
    assert [one["box_caption"] for one in predictions] == ["cat 0.90", "dog 0.30"], "the slider of W&B hides the dog"


UPPER_HALF = {"segmentation": [[20, 10, 60, 10, 60, 30, 20, 30]]}


def test_masks_take_the_place_of_boxes_on_both_sides(tmp_path, monkeypatch):
    """The annotated mask is the upper half of the cat's box, the detected one the left half."""
    shown, compare = [], detection_images.compare

    def recording(image, ground_truth, detections, class_names, both):
        shown.extend([draw_objects(image, side, class_names) for side in (ground_truth, detections)])
        return compare(image, ground_truth, detections, class_names, both)

    monkeypatch.setattr(detection_images, "compare", recording)
    fit(tmp_path, [make_batch([1], first_annotation=UPPER_HALF)], detector=MaskStubDetector())
    orange = [(np.asarray(picture) == (230, 159, 0)).all(axis=2) for picture in shown]
    # (20, 10, 60, 50) in 200 x 100 is (64, 32, 192, 160) in 640 x 320.
    for lines, (left, top, right, bottom) in zip(orange, [(64, 32, 192, 96), (64, 32, 128, 160)], strict=True):
        rows, columns = np.flatnonzero(lines[:, 64:].any(axis=1)), np.flatnonzero(lines.any(axis=0))
        edges = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        assert np.abs(np.subtract(edges, (left, top, right, bottom))).max() <= 4
    assert (tmp_path / FILE_NAME).exists()


def test_masks_go_to_wandb_as_classes_of_pixels(tmp_path, monkeypatch, wandb_records):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=tmp_path, project="test")
    fit(tmp_path, [make_batch([7], first_annotation=UPPER_HALF)], logger=logger, detector=MaskStubDetector())
    wandb.finish()
    wandb.teardown()
    [run] = tmp_path.glob("wandb/offline-run-*")
    [path] = run.glob("*.wandb")
    pictures = {
        item.nested_key[-1]: json.loads(item.value_json)
        for record in wandb_records(path)
        if record.WhichOneof("record_type") == "history"
        for item in record.history.item
        if LOG_KEY in item.nested_key
    }
    [masks] = pictures["all_masks"]
    found = {side: np.asarray(Image.open(run / "files" / one["path"])) for side, one in masks.items()}
    for pixels in found.values():
        assert pixels.shape == (50, 100)
        assert pixels.dtype == np.uint8
    # The image is shown at half its size; a crowd without a mask has none here either.
    rows, columns = np.nonzero(found["ground_truth"])
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (10, 5, 30, 15)
    rows, columns = np.nonzero(found["predictions"])
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (10, 5, 20, 25)
    assert set(np.unique(found["predictions"])) == {0, 1}
    assert np.array_equal(found["instances"] > 0, found["predictions"] > 0)
    assert sum(path.stat().st_size for path in run.rglob("*.mask.png")) < 2000
    assert [sorted(boxes) for boxes in pictures["all_boxes"]] == [["ground_truth", "predictions"]]


class LearningStubDetector(MaskStubDetector):
    """Logs each step, and its scores fall with the epochs."""

    def training_step(self, batch, batch_idx):
        self.log("train/loss", 1.0)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        detections = super().validation_step(batch, batch_idx)
        return detections._replace(scores=detections.scores - 0.1 * self.current_epoch)


@pytest.mark.end_to_end
def test_a_run_stores_pixels_and_ground_truth_once(tmp_path, monkeypatch, wandb_records):
    """Three epochs, twice: the second time as after a restart."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    batch = make_batch([7, 8], first_annotation=UPPER_HALF)
    batch.images[1] = 100
    for _ in range(2):
        logger = DetectionWandbLogger(save_dir=tmp_path)
        fit(tmp_path, [batch], logger=logger, detector=LearningStubDetector(), max_epochs=3, log_every_n_steps=1)
        wandb.finish()
        wandb.teardown()
        time.sleep(1)  # W&B names folders by the second
    runs = sorted(tmp_path.glob("wandb/offline-run-*"))
    rows = []
    for run in runs:
        records = list(wandb_records(next(run.glob("*.wandb"))))
        histories = [record.history for record in records if record.WhichOneof("record_type") == "history"]
        images = [
            {item.nested_key[-1]: json.loads(item.value_json) for item in one.item if LOG_KEY in item.nested_key}
            for one in histories
        ]
        assert [one.step.num for one in histories] == [0, 1, 2]
        assert all(images), "at the steps of the figures"
        uploads = [file.path for record in records for file in record.files.files]
        pixels = [path for path in uploads if path.endswith(".jpg")]
        assert sorted(pixels) == sorted(images[0]["filenames"]), "each once"
        assert sum("ground_truth" in path for path in uploads) == 3 * 2, "pixels, boxes and masks, once for each image"
        for one in images:
            assert one["captions"] == ["image-7.jpg", "image-8.jpg"]
            named = [
                overlay["path"] for key in ("all_boxes", "all_masks") for side in one[key] for overlay in side.values()
            ]
            assert all((run / "files" / path).exists() for path in (*one["filenames"], *named))
        scores = [
            json.loads((run / "files" / one["all_boxes"][0]["predictions"]["path"]).read_text())["box_data"][0][
                "scores"
            ]
            for one in images
        ]
        assert [one["score"] for one in scores] == pytest.approx([0.9, 0.8, 0.7])
        rows += images
    assert len({tuple(one["filenames"]) for one in rows}) == 1, "also after a restart"
    assert len({one[key][0]["ground_truth"]["path"] for one in rows for key in ("all_boxes", "all_masks")}) == 2


def test_a_detector_of_boxes_is_compared_with_boxes(tmp_path, monkeypatch):
    monkeypatch.setattr(detection_images, "mask_of", pytest.fail)
    fit(tmp_path, [make_batch([1], first_annotation=UPPER_HALF)])
    assert (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (900, 2)])
def test_odd_shapes_are_drawn(tmp_path, size):
    fit(tmp_path, [make_batch([1], size=size, original=(size[0] * 2, size[1] * 2))])
    Image.open(tmp_path / FILE_NAME).load()


def test_an_image_that_cannot_be_drawn_is_named_and_the_others_are_shown(tmp_path):
    bad = make_batch([5], first_annotation={"bbox": None})
    with pytest.warns(UserWarning, match=r"image-5\.jpg: its detections cannot be drawn"):
        fit(tmp_path, [bad, make_batch([6])])
    assert (tmp_path / FILE_NAME).exists()


def test_a_folder_that_cannot_be_written_does_not_stop_the_training(tmp_path):
    (tmp_path / "images").write_text("a file in the way")
    with pytest.warns(UserWarning, match="not stored"):
        trainer = fit(tmp_path, [make_batch([1])])
    assert trainer.global_step == 1


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="threshold 2"):
        DetectionImages(threshold=2)
