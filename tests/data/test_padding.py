import numpy as np
import pytest

from lightning_rcnn.data.padding import (
    DIVISOR,
    mixed_shape,
    padded_shapes,
    resized_sizes,
    smallest_holding,
    sort_shapes,
)
from lightning_rcnn.data.plan import plan_training_epoch
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.detectors.preprocessing import PreprocessingSettings
from lightning_rcnn.errors import InputError


def test_shapes_of_the_papers_rule():
    shapes = padded_shapes(ResizeRule(800, 1333))
    assert shapes.tolist() == [[800, 800], [800, 1088], [1088, 800], [800, 1344], [1344, 800], [1344, 1344]]


def test_a_vga_image_gets_the_shape_for_4_to_3():
    rule = ResizeRule(800, 1333)
    sizes = resized_sizes(rule, np.array([480, 640]), np.array([640, 480]))
    assert sizes.tolist() == [[800, 1067], [1067, 800]]
    shapes = padded_shapes(rule)
    assert shapes[smallest_holding(sizes, shapes)].tolist() == [[800, 1088], [1088, 800]]


@pytest.mark.parametrize("rule", [ResizeRule(), ResizeRule(240, 320), ResizeRule(600, 600), ResizeRule(333, 1000)])
@pytest.mark.parametrize("method", ["antialiased", "bilinear"])
def test_every_image_fits_and_no_shape_wastes_more_than_it_must(rule: ResizeRule, method: str):
    rule = ResizeRule(rule.min_size, rule.max_size, method)
    generator = np.random.default_rng(0)
    heights, widths = generator.integers(1, 3000, (2, 2000))
    sizes = resized_sizes(rule, heights, widths)
    assert sizes.tolist() == [list(rule.size(int(h), int(w))) for h, w in zip(heights, widths, strict=True)]
    shapes = padded_shapes(rule)
    assert (shapes % DIVISOR == 0).all()
    chosen = smallest_holding(sizes, shapes)
    assert (chosen >= 0).all()
    for size, shape in zip(sizes, chosen, strict=True):
        areas = [height * width for height, width in shapes if height >= size[0] and width >= size[1]]
        assert shapes[shape].prod() == min(areas)


def test_given_shapes_are_sorted_and_joined_by_the_one_that_holds_all():
    assert sort_shapes([[320, 64], [64, 320], [64, 64]]).tolist() == [[64, 64], [64, 320], [320, 64], [320, 320]]


@pytest.mark.parametrize("shape", [[100, 320], [320], [0, 32], [-32, 32]])
def test_a_shape_that_is_none_is_refused(shape: list[int]):
    with pytest.raises(InputError, match=r"multiples of 32"):
        sort_shapes([[32, 32], shape])


def test_nothing_holds_what_is_too_large():
    assert smallest_holding(np.array([[64, 96], [32, 32]]), np.array([[32, 64], [64, 64]])).tolist() == [-1, 0]


def test_all_multiples_as_shapes_pad_each_image_as_detect_does():
    settings = PreprocessingSettings(min_size=128, max_size=192)
    preprocessing, edges = settings.build(), range(DIVISOR, 192 + DIVISOR, DIVISOR)
    shapes = sort_shapes([(height, width) for height in edges for width in edges])
    heights, widths = (grid.ravel() for grid in np.meshgrid(np.arange(20, 300, 7), np.arange(20, 300, 7)))
    sizes = resized_sizes(preprocessing.resize_rule, heights, widths)
    expected = [preprocessing.padded_size(*size) for size in sizes.tolist()]
    assert shapes[smallest_holding(sizes, shapes)].tolist() == [list(size) for size in expected]


@pytest.mark.parametrize(
    ("originals", "expected"),
    [
        ([(480, 640)] * 9, (800, 1088)),
        ([(480, 640)] * 9 + [(640, 480)] * 9, (1344, 1344)),
        ([(300, 900)] * 9 + [(480, 640)] * 9, (800, 1344)),
    ],
)
def test_the_largest_batch_of_a_plan_has_the_mixed_shape(originals, expected):
    rule = ResizeRule(800, 1333)
    sizes, shapes = resized_sizes(rule, *np.array(originals).T), padded_shapes(rule)
    assert mixed_shape(sizes, shapes) == expected
    plans = [
        plan_training_epoch([len(sizes)], [sizes], [shapes], global_batch_size=4, seed=0, epoch=epoch, window=64)
        for epoch in range(20)
    ]
    assert max(plan.shapes.prod(axis=1).max() for plan in plans) == np.prod(expected)
