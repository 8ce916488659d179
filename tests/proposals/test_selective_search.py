import ctypes
import sys

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from lightning_rcnn.errors import InputError
from lightning_rcnn.proposals import selective_search as module
from lightning_rcnn.proposals.selective_search import SelectiveSearch, selective_search


def scene(height=60, width=90, seed=0):
    """Draw smooth noise with a bright square in it, [20, 10, 50, 40]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 120, (1, 3, 5, 7), generator=generator).float()
    image = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
    image[:, 10:40, 20:50] = torch.tensor([250.0, 240.0, 30.0])[:, None, None]
    return image.round().to(torch.uint8)


@pytest.mark.parametrize("mode", ["fast", "quality"])
@pytest.mark.parametrize("width", [45, 90, 180])
def test_uniform_regions_are_found(mode, width):
    boxes = torch.from_numpy(selective_search(scene(), mode, width))
    assert boxes.dtype == torch.float32
    assert box_iou(boxes, torch.tensor([[20.0, 10.0, 50.0, 40.0]])).max() > 0.8


def test_quality_mode_proposes_more():
    assert len(selective_search(scene(), "quality", 90)) > len(selective_search(scene(), "fast", 90))


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (1, 1), (1, 60), (60, 1), (2, 3)])
def test_boxes_are_inside_the_image_and_not_empty(size):
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
    boxes = selective_search(image, "fast", 50)
    assert len(boxes) >= 1
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= size[1]).all()
    assert (boxes[:, 3] <= size[0]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)


@pytest.mark.skipif(sys.platform == "win32", reason="the C library cannot be seeded there")
def test_the_same_image_gives_the_same_order_after_any_other():
    first = selective_search(scene(), "fast", 90)
    ctypes.CDLL(None).srand(77)
    selective_search(scene(seed=3), "fast", 60)
    assert np.array_equal(selective_search(scene(), "fast", 90), first)


def test_the_memory_layout_of_the_image_does_not_matter():
    image = scene()
    channels_last = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert np.array_equal(selective_search(channels_last, "fast", 90), selective_search(image, "fast", 90))


def test_one_color_is_one_box():
    assert selective_search(torch.full((3, 30, 40), 9, dtype=torch.uint8), "fast", 20).tolist() == [[0, 0, 40, 30]]


def test_a_tall_image_costs_no_more_than_four_squares(monkeypatch):
    import cv2

    sizes = []
    resize = cv2.resize
    monkeypatch.setattr(cv2, "resize", lambda pixels, size, **more: sizes.append(size) or resize(pixels, size, **more))
    boxes = selective_search(scene(800, 60), "fast", 30)
    assert sizes == [(9, 120)]
    assert boxes[:, 3].max() == 800


def test_scores_fall_and_the_limit_keeps_the_best():
    everything, best = SelectiveSearch("fast", 90, 10_000)(scene()), SelectiveSearch("fast", 90, 5)(scene())
    assert everything.dtype == np.float32
    assert (np.diff(everything[:, 4]) < 0).all()
    assert everything[:, 4].max() == 1
    assert everything[:, 4].min() > 0
    assert np.array_equal(best[:, :4], everything[:5, :4])


def test_the_method_says_what_decides_the_boxes():
    method = SelectiveSearch("quality", 400, 2000).method
    assert method.startswith("selective search, quality, width 400, best 2000, OpenCV ")


@pytest.mark.parametrize(
    ("arguments", "words"), [(("slow", 90), "unknown mode 'slow'; use fast or quality"), (("fast", 0), "width 0")]
)
def test_what_cannot_be_done_is_one_line(arguments, words):
    with pytest.raises(InputError, match=words):
        selective_search(scene(), *arguments)


@pytest.mark.parametrize("missing", ["cv2", "cv2.ximgproc.segmentation"])
def test_without_opencv_one_line_says_what_to_install(monkeypatch, missing):
    module._opencv.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match="pip install opencv-contrib-python-headless") as caught:
        selective_search(scene())
    assert "\n" not in str(caught.value)
