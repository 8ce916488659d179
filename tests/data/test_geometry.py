"""Maps between frames."""

import numpy as np
import pytest

from lightning_rcnn.data.geometry import AxisAlignedMap


@pytest.mark.parametrize("transposes", [False, True])
@pytest.mark.parametrize("scales", [(2.0, 3.0), (-1.0, 1.0), (1.0, -0.5), (-2.0, -1.0)])
def test_a_corner_is_that_of_the_mapped_box(scales: tuple[float, float], transposes: bool):
    mapping = AxisAlignedMap(scales[0], 7.0, scales[1], 11.0, transposes)
    box = (2.0, 3.0, 13.0, 5.0)
    assert list(mapping.corner(box)) == mapping.boxes(np.array([box]))[0, :2].tolist()
