"""Gathering boxes by index.

Shape letters: N images, P boxes of an image, K boxes taken from them.
"""

from torch import Tensor


def gather_boxes(boxes: Tensor, indices: Tensor) -> Tensor:
    """Take boxes (or their deltas) of each image by index.

    Args:
        boxes: [N, P, 4].
        indices: int64 [N, K], positions among the P boxes.

    Returns:
        [N, K, 4].
    """
    return boxes.gather(1, indices[..., None].expand(-1, -1, 4))
