import math

import pytest

from lightning_rcnn.data.formats.coco.sizes import MAX_SIDE, stated_size


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (64, 48, (64, 48)),
        ("64", 48.0, (64, 48)),
        (MAX_SIDE, 1, (MAX_SIDE, 1)),
        (MAX_SIDE + 1, 1, (0, 0)),
        (10**400, 48, (0, 0)),
        (64, 0, (0, 0)),
        (-64, -48, (0, 0)),
        (64, None, (0, 0)),
        (math.nan, math.inf, (0, 0)),
        ("64 px", [48], (0, 0)),
        (True, 48, (0, 0)),
    ],
)
def test_a_size_is_stated_or_not(width, height, size):
    assert stated_size(width, height) == size
