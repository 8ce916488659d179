import numpy as np
import pytest
import torch

from lightning_rcnn.masks.run_length import encode_crop
from lightning_rcnn.visualization import Objects, class_color, draw_objects
from lightning_rcnn.visualization.drawing import MIN_LONGER_SIDE

NAMES = ["cat", "dog"]
GRAY = 128


def gray_image(height, width):
    return torch.full((3, height, width), GRAY, dtype=torch.uint8)


def objects(boxes, labels=None, **others):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Objects(boxes, torch.tensor(labels or [1] * len(boxes), dtype=torch.int64), **others)


def pixels_of(image, label):
    """Mark the pixels with exactly the color of a class, which only lines around boxes have."""
    return (np.asarray(image) == class_color(label)).all(axis=2)


def extent(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_lines_lie_on_the_edges_of_the_box():
    image = draw_objects(gray_image(600, 800), objects([[100, 200, 400, 500]]), NAMES)
    assert extent(pixels_of(image, 1)) == (100, 200, 400, 500)


def test_a_small_image_is_enlarged_with_its_boxes():
    image = draw_objects(gray_image(48, 64), objects([[16, 12, 48, 36]]), NAMES)
    assert image.size == (MIN_LONGER_SIDE, 480)
    assert extent(pixels_of(image, 1)) == (160, 120, 480, 360)


def test_the_image_is_not_written_to():
    image = gray_image(700, 700)
    draw_objects(image, objects([[0, 0, 700, 700]]), NAMES)
    assert (image == GRAY).all()


def test_a_box_beyond_the_image_is_drawn_at_its_edge():
    image = draw_objects(gray_image(480, 640), objects([[-50, 100, 900, 300]]), NAMES)
    left, _, right, _ = extent(pixels_of(image, 1))
    assert (left, right) == (0, 640)


def test_lines_of_a_crowd_are_broken():
    boxes = [[50, 100, 600, 400]]
    whole = pixels_of(draw_objects(gray_image(480, 640), objects(boxes), NAMES), 1)
    broken = draw_objects(gray_image(480, 640), objects(boxes, is_crowd=torch.tensor([True])), NAMES)
    assert 0.4 < pixels_of(broken, 1).sum() / whole.sum() < 0.65


def test_lines_grow_with_the_image_and_are_thin_on_small_boxes():
    def thickness(size, box):
        mask = pixels_of(draw_objects(gray_image(size, size), objects([box]), NAMES), 1)
        return int(mask[(box[1] + box[3]) // 2].sum()) // 2

    assert thickness(2560, [500, 500, 1500, 1500]) > thickness(640, [125, 125, 375, 375]) > 1
    assert thickness(640, [100, 100, 112, 112]) == 1


def test_a_large_box_does_not_cover_a_small_one():
    boxes = [[300, 200, 340, 240], [300, 100, 600, 400]]
    image = draw_objects(gray_image(480, 640), objects(boxes, [1, 2]), NAMES)
    assert pixels_of(image, 1)[205:235, 300].all()


def label_area(image, label):
    """Count the pixels close to the color of a class: lines, and labels, which are slightly transparent."""
    return (abs(np.asarray(image).astype(int) - class_color(label)).max(axis=2) < 30).sum()


def test_few_objects_have_labels_and_a_swarm_has_none_but_all_its_boxes():
    few = draw_objects(gray_image(480, 640), objects([[100, 100, 120, 120]]), NAMES)
    assert label_area(few, 1) > 300
    grid = [[20 * i, 20 * j, 20 * i + 12, 20 * j + 12] for i in range(1, 29) for j in range(1, 21)]
    many = draw_objects(gray_image(480, 640), objects(grid, scores=torch.ones(len(grid))), NAMES)
    lines = pixels_of(many, 1)
    for left, top, right, bottom in grid:
        assert lines[top:bottom, [left, right - 1]].all()
    assert label_area(many, 1) == len(grid) * 4 * 11


@pytest.mark.parametrize(
    "box", [[5, 5, 5, 5], [50, 50, 20, 20], [float("nan"), 0, 5, 5], [0, 0, float("inf"), 5], [900, 900, 950, 950]]
)
@pytest.mark.parametrize("size", [(480, 640), (1, 1), (1, 2000), (3, 1)])
def test_odd_boxes_and_images_are_no_error(box, size):
    odd = objects([box, [0, 0, 1, 1]], [1, 99], scores=torch.tensor([0.5, float("nan")]))
    assert min(draw_objects(gray_image(*size), odd, NAMES).size) >= 1


def filled(x1, y1, x2, y2, width=640, height=480):
    return encode_crop(np.ones((y2 - y1, x2 - x1), dtype=bool), y1, x1, height, width)


def test_masks_take_the_place_of_boxes():
    """The mask is the left half of its box; the object without a mask gets lines around its box."""
    boxes = [[100, 100, 300, 300], [400, 100, 500, 200]]
    image = draw_objects(gray_image(480, 640), objects(boxes, [1, 2], masks=[filled(100, 100, 200, 300), None]), NAMES)
    pixels = np.asarray(image).astype(int)
    assert extent(pixels_of(image, 1)) == (100, 100, 200, 300)
    assert extent(pixels_of(image, 2)) == (400, 100, 500, 200)
    assert (pixels[150:250, 110:190] != GRAY).all(axis=2).any()
    assert (pixels[120:280, 205:300] == GRAY).all()
    assert (pixels[120:180, 420:480] == GRAY).all()


def test_masks_of_the_original_image_fit_the_resized_one():
    boxes = [[50, 50, 100, 150]]
    image = draw_objects(gray_image(240, 320), objects(boxes, masks=[filled(100, 100, 200, 300)]), NAMES)
    assert extent(pixels_of(image, 1)) == (100, 100, 200, 300), "enlarged to 640 x 480"


def test_objects_of_one_class_have_shades_of_their_own():
    boxes = [[10 + 60 * i, 100, 60 + 60 * i, 400] for i in range(8)]
    image = draw_objects(gray_image(480, 640), objects(boxes, masks=[filled(*box) for box in boxes]), NAMES)
    shades = {image.getpixel((35 + 60 * i, 250)) for i in range(8)}
    assert len(shades) == 8


def test_a_small_mask_lies_on_a_large_one():
    boxes = [[300, 200, 340, 240], [300, 100, 600, 400]]
    image = draw_objects(gray_image(480, 640), objects(boxes, [1, 2], masks=[filled(*box) for box in boxes]), NAMES)
    assert pixels_of(image, 1)[205:235, 300].all()


def test_no_objects_leave_the_image_as_it_is():
    assert (np.asarray(draw_objects(gray_image(480, 640), objects([]), NAMES)) == GRAY).all()
