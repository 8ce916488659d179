"""Validation with tiles and views scores what `detect` finds with them; options that cannot be are refused."""

import warnings

import pytest
import torch
from lightning.pytorch import Trainer
from torchvision.ops import box_iou

from lightning_rcnn import DetectionDataModule, Skeleton
from lightning_rcnn.cli.commands.pack import pack_shapes
from lightning_rcnn.cli.tiles_and_views import given_tiles_and_views
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, generate_scene
from lightning_rcnn.detection.sources import find_sources
from lightning_rcnn.detectors.tiles_and_views import TilesAndViews
from lightning_rcnn.errors import InputError
from lightning_rcnn.evaluation.coco_ap import CocoAveragePrecision


@pytest.mark.parametrize("options", [{"tile": 100, "overlap": 0.3}, {"tta": "flip,scales"}])
@pytest.mark.end_to_end
def test_validation_scores_what_detect_finds(make_mask_rcnn, tmp_path, options):
    pack_shapes(tmp_path / "shapes", num=6, seed=0, workers=1)
    model = make_mask_rcnn(class_names=list(CLASS_NAMES))
    model.tiles_and_views = TilesAndViews(**options)
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
    data = DetectionDataModule(val=str(tmp_path / "shapes"), eval_batch_size=2, num_workers=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*was called before the ``update`` method")
        trainer.validate(model, data, verbose=False)
    assert model.last_metrics.keys() == {"bbox", "segm", "voc"}  # no recall of proposals
    found = model.last_metrics["bbox"]

    expected = CocoAveragePrecision(CLASS_NAMES, max_detections=100)
    num_objects = 0
    for number, still in enumerate(find_sources([str(tmp_path / "shapes")]).stills):
        pixels, scene = still.read().pixels, generate_scene(0, number)
        (detected,) = model.detect(pixels, threshold=0.0, **options)
        assert detected["masks"].shape == (len(detected["boxes"]), *pixels.shape[1:])
        boxes = torch.from_numpy(scene.boxes).tolist()
        annotations = [
            {"category_id": int(label), "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(mask.sum())}
            for (x1, y1, x2, y2), label, mask in zip(boxes, scene.labels, scene.masks, strict=True)
        ]
        results = [
            {"category_id": int(label), "score": float(score), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for (x1, y1, x2, y2), label, score in zip(
                detected["boxes"].tolist(), detected["labels"], detected["scores"], strict=True
            )
        ]
        num_objects += len(results)
        expected.add_image(number, *pixels.shape[1:], annotations, results)
    figures = expected.compute()
    assert num_objects > 50
    for name in ("AP", "AP50", "AR100"):
        assert found[name] == pytest.approx(figures[name], abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
def test_a_flipped_image_has_the_flipped_objects_if_all_flips_are_views(make_detector, axes):
    image = torch.randint(0, 256, (3, 90, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = make_detector(box={"score_threshold": 0.0})
    tta = ("flip", "vertical_flip")
    (found,), (flipped,) = (model.detect(shown, threshold=0.0, tta=tta) for shown in (image, image.flip(axes)))
    x1, y1, x2, y2 = flipped["boxes"].unbind(1)
    if -1 in axes:
        x1, x2 = 120 - x2, 120 - x1
    if -2 in axes:
        y1, y2 = 90 - y2, 90 - y1
    assert len(found["boxes"]) > 5
    torch.testing.assert_close(flipped["scores"], found["scores"], atol=1e-5, rtol=0)
    overlaps = box_iou(torch.stack([x1, y1, x2, y2], dim=1), found["boxes"])
    assert (overlaps.amax(0) > 0.999).all()


def test_options_that_cannot_be_are_one_line(make_detector):
    detector = make_detector()
    for options, command, line in (
        ({"tile": 100, "overlap": 1.0, "tta": ""}, "validate", "--overlap 1: a share of a tile, from 0 to less than 1"),
        (
            {"tile": None, "overlap": 0.2, "tta": "flop"},
            "validate",
            "--tta 'flop': unknown; give some of flip, vertical_flip, scales",
        ),
        ({"tile": 100, "overlap": 0.2, "tta": ""}, "predict", "--tile: `predict` runs the network once; use `detect`"),
    ):
        with pytest.raises(InputError) as caught:
            given_tiles_and_views(options, command, detector)
        assert str(caught.value).startswith(line)
    detector.skeleton = Skeleton(("a", "b"))
    with pytest.raises(InputError, match="--tile: keypoints of tiles and views are not merged; leave it out"):
        given_tiles_and_views({"tile": 100, "overlap": 0.2, "tta": "flip"}, "fit", detector)
    detector.skeleton, detector.proposal_limit = None, 10
    with pytest.raises(InputError, match="--tta: FasterRCNN is scored with stored proposals"):
        given_tiles_and_views({"tile": None, "overlap": 0.2, "tta": "flip"}, "validate", detector)
