"""The size of an image whose edges are fitted into limits, as detectron2 rounds it."""


def fit_edges(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """Return the (height, width) with a shorter edge of `min_size` unless the longer one would exceed `max_size`.

    At least one pixel each. The two steps are detectron2's (`ResizeShortestEdge`), and their rounding decides where a
    product ends in .5: 1032 x 180 becomes 1333 x 232.

    Args:
        height, width: size in pixels.
        min_size: length of the shorter edge.
        max_size: limit of the longer edge.
    """
    scale = min_size / min(height, width)
    scaled = (min_size, width * scale) if height < width else (height * scale, min_size)
    shrink = min(1.0, max_size / max(scaled))
    return max(1, int(scaled[0] * shrink + 0.5)), max(1, int(scaled[1] * shrink + 0.5))
