"""Random decoded images with windows, turns and flips, and what torch's and Pillow's operators make of them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from lightning_rcnn.ops.placements import Placement
from lightning_rcnn.ops.render import render_images
from lightning_rcnn.ops.resize_taps import axis_taps


@dataclass
class RenderingCase:
    """Arguments of `render_images`, and the expected batch."""

    pixels: torch.Tensor
    placements: torch.Tensor
    taps: torch.Tensor
    fill: torch.Tensor
    size: tuple
    rule: str
    expected: torch.Tensor

    def to(self, device):
        """Move the case to another device."""
        return replace(
            self, **{name: getattr(self, name).to(device) for name in ("pixels", "placements", "taps", "fill")}
        )

    def rendered(self, impl):
        """Render the batch."""
        is_rounded = self.rule != "linear"
        return render_images(
            self.pixels, self.placements, self.taps, self.fill, *self.size, is_rounded=is_rounded, impl=impl
        )


TOLERANCES = {"antialiased": 0.0, "pillow": 1.0, "linear": 5e-3}
"""Largest difference of each rule; Pillow begins with y where that is less work, and rounds in between."""


def draw_rendering(seed):
    """Draw a case: one to three images of odd sizes, an empty slot, windows inside of images and beyond them.

    None is one pixel wide, before or after: torch's antialiased operator then repeats the first row.
    """
    generator = np.random.default_rng(seed)
    rule = ("antialiased", "pillow", "linear")[seed % 3]
    channels = 3 if rule == "pillow" else int(generator.choice([1, 2, 3, 5]))
    size = tuple(generator.integers(20, 50, 2).tolist())
    memory, placements, tables, fill, expected = [], [], [], [], []
    for _ in range(int(generator.integers(1, 4))):
        color = generator.integers(0, 256, channels, dtype=np.uint8)
        pixels = generator.integers(0, 256, (*generator.integers(2, 70, 2), channels), dtype=np.uint8)
        top, left = generator.integers(-8, 9, 2).tolist() if seed % 2 else (0, 0)
        canvas_size = generator.integers(2, 70, 2).tolist() if seed % 2 else list(pixels.shape[:2])
        transposed, upside_down, mirrored = generator.integers(0, 2, 3).tolist()
        new = (generator.integers(1, size[0] + 1), generator.integers(2, size[1] + 1))
        displayed = canvas_size[::-1] if transposed else canvas_size
        if seed % 5 == 0:
            new = tuple(min(limit, edge) for limit, edge in zip(size, displayed, strict=True))
        along_y, along_x = (axis_taps(old, int(edge), rule) for old, edge in zip(displayed, new, strict=True))
        first = sum(map(len, memory)), sum(map(len, tables))
        placements.append(
            Placement(
                *(first[0], *pixels.shape[:2], top, left, *canvas_size, transposed, upside_down, mirrored, *new),
                *(first[1], along_y.table.shape[1] - 1, along_y.bits),
                *(first[1] + along_y.table.size, along_x.table.shape[1] - 1, along_x.bits),
            )
        )
        memory.append(pixels.ravel())
        tables += [along_y.table.ravel(), along_x.table.ravel()]
        fill.append(color)
        canvas = _canvas(pixels, (top, left), canvas_size, color)
        canvas = canvas.swapaxes(0, 1) if transposed else canvas
        image = _resized(np.ascontiguousarray(canvas), tuple(map(int, new)), rule)
        image = image[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
        slot = np.zeros((*size, channels), image.dtype)
        slot[: image.shape[0], : image.shape[1]] = image
        expected.append(torch.from_numpy(slot).permute(2, 0, 1))
    placements.append(Placement())
    fill.append(np.zeros(channels, np.uint8))
    expected.append(torch.zeros_like(expected[0]))
    return RenderingCase(
        torch.from_numpy(np.concatenate(memory)),
        torch.tensor(placements),
        torch.from_numpy(np.concatenate(tables)),
        torch.from_numpy(np.stack(fill)),
        size,
        rule,
        torch.stack(expected),
    )


def rendering_error(case, device="cpu", impl="auto"):
    """Compute the largest difference of the rendered batch from the expected one, in gray levels."""
    rendered = case.to(device).rendered(impl).cpu()
    assert rendered.dtype == case.expected.dtype
    return (rendered.double() - case.expected.double()).abs().max().item()


def is_rendered(case, device="cpu", impl="auto"):
    """Return whether the rendered batch is the expected one, within the tolerance of its rule."""
    return rendering_error(case, device, impl) <= TOLERANCES[case.rule]


def _canvas(pixels, corner, size, color):
    """Put pixels on a canvas of one color, pixel by pixel."""
    canvas = np.broadcast_to(color, (*size, len(color))).copy()
    for row in range(pixels.shape[0]):
        for column in range(pixels.shape[1]):
            y, x = row + corner[0], column + corner[1]
            if 0 <= y < size[0] and 0 <= x < size[1]:
                canvas[y, x] = pixels[row, column]
    return canvas


def _resized(canvas, size, rule):
    if rule == "pillow":
        return np.asarray(Image.fromarray(canvas).resize(size[::-1], Image.Resampling.BILINEAR))
    image = torch.from_numpy(canvas).permute(2, 0, 1)[None]
    if rule == "linear":
        return interpolate(image.float(), size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0).numpy()
    return interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)[0].permute(1, 2, 0).numpy()
