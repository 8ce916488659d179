"""Warping of regions to images of one size, the network's input in R-CNN.

Girshick et al., CVPR 2014, arXiv 1311.2524, section 2.1 and appendix A (the column "warp").

Shape letters: N images, H and W padded height and width, R regions, S side of a warped region.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def warp_regions(images: Tensor, boxes: Tensor, size: int = 227, context: int = 16) -> Tensor:
    """Warp regions of any shape to squares, with a margin of context.

    A box is enlarged about its center so that it fills the square except for `context` pixels on each side. It is
    sampled bilinearly at the centers of the square's pixels, without antialiasing (as in the paper's code). Samples
    outside the image are 0, the mean of its pixels. There is no host sync.

    Args:
        images: float32 [N, 3, H, W], normalized, zeros in the padding.
        boxes: float32 [N, R, 4], xyxy in pixels of the images.
        size: S, pixels.
        context: width of the margin on each side, pixels of the square; less than S / 2.

    Returns:
        Float32 [N * R, 3, S, S], in the memory format of the images.
    """
    (num_images, num_channels, height, width), num_regions = images.shape, boxes.shape[1]
    # Offset of pixel i of the square from the center of the box, in sides of the box.
    offset = (torch.arange(size, device=boxes.device) + 0.5 - size / 2) / (size - 2 * context)
    x1, y1, x2, y2 = boxes.float().unbind(-1)
    x = (x1 + x2)[..., None] / 2 + (x2 - x1)[..., None] * offset
    y = (y1 + y2)[..., None] / 2 + (y2 - y1)[..., None] * offset
    # `grid_sample` counts from -1 at one edge of the image to 1 at the other. All squares of an image form one column
    # of S pixels' width, so that the image is sampled in one call and not copied for each square.
    grid = torch.stack(
        (
            (2 * x / width - 1)[:, :, None, :].expand(-1, -1, size, -1),
            (2 * y / height - 1)[:, :, :, None].expand(-1, -1, -1, size),
        ),
        dim=-1,
    ).flatten(1, 2)
    column = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    squares = column.view(num_images, num_channels, num_regions, size, size).transpose(1, 2).flatten(0, 1)
    is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
    return squares.contiguous(memory_format=torch.channels_last if is_channels_last else torch.contiguous_format)
