import pytest

from lightning_rcnn.plural import plural


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "box", "2 boxes"),
        (1, "class", "1 class"),
        (2, "other class", "2 other classes"),
        (1, "entry", "1 entry"),
        (2, "entry", "2 entries"),
        (0, "category", "0 categories"),
        (3, "array", "3 arrays"),
        (2, "brush", "2 brushes"),
        (118_287, "image", "118,287 images"),
    ],
)
def test_numbers_of_things(number, noun, expected):
    assert plural(number, noun) == expected
