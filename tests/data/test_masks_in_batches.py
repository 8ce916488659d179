"""Masks all the way: packed, read, resized, mirrored and collated, against the COCO API on the whole image."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.dataset import BatchRequest, DetectionDataset
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.data.plan import EMPTY_SLOT
from lightning_rcnn.data.reader import RawSample, ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.data.transforms import HorizontalFlip, VerticalFlip

HEIGHT, WIDTH = 48, 64
PARTS = [[5.0, 5.0, 25.3, 5.0, 15.7, 20.1], [40.0, 30.0, 40.0, 47.9, 63.9, 47.9]]
PENTAGRAM = [[32.0, 2.0, 44.0, 40.0, 12.0, 16.0, 52.0, 16.0, 20.0, 40.0]]


def pack(folder: Path, annotations: list[dict], height: int = HEIGHT, width: int = WIDTH) -> Path:
    images = folder / "images"
    images.mkdir(parents=True)
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 199)).save(stream, "PNG")
    (images / "a.png").write_bytes(stream.getvalue())
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": width, "height": height}],
        "annotations": [{"id": k, "image_id": 1, "category_id": 1, **each} for k, each in enumerate(annotations, 1)],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (folder / "a.json").write_text(json.dumps(content))
    write_shards(coco_source(images, folder / "a.json"), folder / "set")
    return folder / "set"


def open_dataset(folder: Path, rule: ResizeRule, form: str, purpose: str = "training", flips=(0.0, 0.0)):
    reader = ShardReader(read_shards(str(folder)), ShardCache(None, 1e9, FetchPolicy()))
    transforms = [HorizontalFlip(flips[0]), VerticalFlip(flips[1])]
    return DetectionDataset(reader, [rule], purpose, transforms, mask_form=form)


def request(*samples: int) -> BatchRequest:
    return BatchRequest(0, 0, (1408, 1408), samples)


def whole_image(segmentation) -> np.ndarray:
    if isinstance(segmentation, dict):
        return coco_mask.decode(coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH)).astype(bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH))).astype(bool)


def box_of(segmentation) -> list[float]:
    return coco_mask.toBbox(coco_mask.encode(np.asfortranarray(whole_image(segmentation), np.uint8))).tolist()


def runs(*lengths):
    return {"size": [HEIGHT, WIDTH], "counts": [*lengths, HEIGHT * WIDTH - sum(lengths)]}


OBJECTS = [PARTS, PENTAGRAM, runs(500, 20, 28, 20, 29, 10), runs(0, 1000), runs(HEIGHT * WIDTH - 30, 30)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    annotations = [{"bbox": box_of(each), "segmentation": each} for each in OBJECTS]
    annotations.insert(1, {"bbox": [1, 1, 30, 30], "iscrowd": 1, "segmentation": runs(0, 2000)})
    annotations.insert(3, {"bbox": [1, 1, 30, 30]})
    return pack(tmp_path_factory.mktemp("masks"), annotations)


@pytest.mark.parametrize("flips", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("scale", [1, 3])
def test_bitmaps_are_the_pixels_of_the_coco_api(packed: Path, flips, scale):
    dataset = open_dataset(packed, ResizeRule(HEIGHT * scale, WIDTH * scale), "bitmaps", flips=flips)
    batch = dataset[request(EMPTY_SLOT, 0)]
    masks = batch.targets.masks
    assert batch.targets.is_crowd[1].tolist()[:3] == [False, True, False]
    expected = [OBJECTS[0], None, OBJECTS[1], None, *OBJECTS[2:], None]
    for number, segmentation in enumerate(expected):
        height, width = masks.sizes[1, number].tolist()
        if segmentation is None:
            assert (height, width) == (0, 0)
            continue
        first = masks.first_byte[1, number]
        bits = np.unpackbits(masks.bits[first : first + -(-height * width // 8)].numpy())[: height * width]
        left, top, right, bottom = (masks.boxes[1, number] / scale).int().tolist()
        image = np.zeros((HEIGHT, WIDTH), bool)
        image[top:bottom, left:right] = bits.reshape(height, width)
        pixels = whole_image(segmentation)
        pixels = pixels[:, ::-1] if flips[0] else pixels
        assert np.array_equal(image, pixels[::-1] if flips[1] else pixels)
    assert not masks.sizes[0].any()


@pytest.mark.parametrize("flips", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_outlines_wind_around_the_pixels_of_the_coco_api(packed: Path, flips):
    """Except along the edges of polygons, where its pixels are a matter of rounding."""
    dataset = open_dataset(packed, ResizeRule(2 * HEIGHT, 2 * WIDTH), "polygons", flips=flips)
    edges = dataset[request(0)].targets.masks.edges[0].double().numpy()
    grid = 2 * np.stack(np.meshgrid(np.arange(WIDTH) + 0.507, np.arange(HEIGHT) + 0.491), axis=-1)
    for number, segmentation in enumerate([OBJECTS[0], None, OBJECTS[1], None, *OBJECTS[2:], None]):
        if segmentation is None:
            assert not edges[number].any()
            continue
        begin, end = (edges[number, :, None, None, pair] - grid for pair in (slice(0, 2), slice(2, 4)))
        cross = begin[..., 0] * end[..., 1] - begin[..., 1] * end[..., 0]
        winding = np.round(np.arctan2(cross, (begin * end).sum(axis=-1)).sum(axis=0) / (2 * np.pi))
        pixels = whole_image(segmentation)
        pixels = pixels[:, ::-1] if flips[0] else pixels
        pixels = pixels[::-1] if flips[1] else pixels
        assert set(np.unique(winding)) <= {0, 1}
        wrong = np.count_nonzero((winding > 0) != pixels)
        assert wrong <= (15 if segmentation is PARTS else 0)


def test_an_object_whose_box_goes_takes_its_mask_along(tmp_path: Path):
    """In a small picture of a large image, a box of a hundredth of a pixel is none."""
    speck = {"bbox": [10.0, 10.0, 0.02, 5.0], "segmentation": [[9.0, 10.0, 11.0, 10.0, 11.0, 15.0, 9.0, 15.0]]}
    whole = {"bbox": [0.0, 0.0, 64.0, 48.0], "segmentation": runs(0, 3000)}
    folder = pack(tmp_path, [speck, whole])
    large = open_dataset(folder, ResizeRule(HEIGHT, WIDTH), "bitmaps")[request(0)].targets
    assert large.masks.sizes[0, :3].tolist() == [[7, 4], [48, 64], [0, 0]]
    small = open_dataset(folder, ResizeRule(12, 16), "bitmaps")[request(0)].targets
    assert small.is_object[0].sum() == 1
    assert small.masks.sizes[0, :2].tolist() == [[48, 64], [0, 0]]


def test_targets_have_masks_where_they_are_wanted(packed: Path):
    for purpose in ("training", "evaluation"):
        batch = open_dataset(packed, ResizeRule(HEIGHT, WIDTH), "bitmaps", purpose)[request(0)]
        assert batch.targets.masks.sizes.any()
    batch = open_dataset(packed, ResizeRule(HEIGHT, WIDTH), "bitmaps", "prediction")[request(0)]
    assert batch.targets is None
    batch = open_dataset(packed, ResizeRule(HEIGHT, WIDTH), "none")[request(0)]
    assert batch.targets.masks is None


@pytest.mark.parametrize("form", ["bitmaps", "polygons"])
@pytest.mark.parametrize(
    "segmentation",
    [{"size": [48, 64], "counts": "!"}, {"size": [48, 64], "counts": "0"}, {"size": [48, 64]}, [["a"] * 6]],
)
def test_a_mask_that_makes_no_sense_makes_an_empty_slot(packed: Path, monkeypatch, form, segmentation):
    dataset = open_dataset(packed, ResizeRule(HEIGHT, WIDTH), form)
    raw = dataset.reader.read(0)
    annotations = [{**raw.content["annotations"][0], "segmentation": segmentation}]
    changed = RawSample(raw.image, {**raw.content, "annotations": annotations}, raw.location)
    monkeypatch.setattr(dataset.reader, "read", lambda number: changed)
    batch = dataset[request(0)]
    assert "a mask cannot be read" in batch.records[0].problem
    assert "shard-000000.tar, key 000000000" in batch.records[0].problem
    assert not batch.targets.is_object.any()
    dataset.purpose = "evaluation"  # which needs masks for losses only
    batch = dataset[request(0)]
    assert not batch.records[0].problem
    assert batch.targets.is_object.any()


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> Path:
    """375 ellipses about 30 pixels wide in 1272 x 603 pixels, as the fullest image of the nuclei."""
    rng = np.random.default_rng(0)
    height, width = 603, 1272
    annotations = []
    for x, y in rng.uniform((0, 0), (width - 40, height - 40), (375, 2)):
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        points = np.stack([x + 18 + 15 * np.cos(angles), y + 18 + rng.uniform(10, 18) * np.sin(angles)], axis=1)
        rle = coco_mask.merge(coco_mask.frPyObjects([points.ravel().tolist()], height, width))
        counts = rle["counts"].decode()
        annotations.append(
            {"bbox": coco_mask.toBbox(rle).tolist(), "segmentation": {"size": [height, width], "counts": counts}}
        )
    return pack(tmp_path_factory.mktemp("crowded"), annotations, height, width)


@pytest.mark.parametrize(("form", "limit"), [("bitmaps", 100_000), ("polygons", 1_100_000)])
def test_hundreds_of_masks_are_small(crowded: Path, form, limit):
    """Laid out, those of one image would be 288 MB."""
    batch = open_dataset(crowded, ResizeRule(256, 640), form)[request(0)]
    assert batch.targets.is_object.sum() == 375
    assert sum(tensor.nbytes for tensor in batch.targets.masks) < limit
    four = open_dataset(crowded, ResizeRule(256, 640), form)[request(0, 0, 0, 0)]
    assert sum(tensor.nbytes for tensor in four.targets.masks) < 4 * limit


def test_masks_move_with_the_batch(packed: Path):
    batch = open_dataset(packed, ResizeRule(HEIGHT, WIDTH), "bitmaps")[request(0)]
    moved = batch.to("meta")
    assert all(tensor.device == torch.device("meta") for tensor in moved.targets.masks)
