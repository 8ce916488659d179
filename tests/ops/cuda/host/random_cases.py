"""Random calls of the kernels on the host against torchvision.

As a program it runs a range of cases, so that they can run in a process of their own with sanitizers.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torchvision.ops
from host_kernels import RUNNERS, SANITIZERS, HostKernels
from random_colors import draw_colors, has_colors
from random_masks import bitmap_error, draw_masks
from random_rendering import draw_rendering, is_rendered
from random_suppression import draw_boxes, num_wrong

from lightning_rcnn.ops.cpu.pixel_weights import Grid, Pyramid
from lightning_rcnn.ops.cuda import launcher, operations, rendering
from lightning_rcnn.ops.cuda.operations import LevelRule

RULE = LevelRule(4, 224.0)


@dataclass
class Case:
    """Maps of one or more levels, regions with a level each, and how they are pooled."""

    features: list
    rois: torch.Tensor
    levels: torch.Tensor
    scales: list
    grid: Grid

    def to(self, device):
        """Move the case to another device."""
        features = [f.to(device) for f in self.features]
        return replace(self, features=features, rois=self.rois.to(device), levels=self.levels.to(device))

    @property
    def pyramid(self):
        sizes = [f.shape for f in self.features]
        return Pyramid(sizes[0][0], [s[2] for s in sizes], [s[3] for s in sizes], self.scales)


def draw(seed):
    """Draw a case: odd sizes, both layouts, boxes that are flat, tiny, inverted, outside or larger than the map."""
    generator = torch.Generator().manual_seed(seed)

    def integer(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    num_levels, num_images = integer(1, 3), integer(1, 2)
    num_channels = (1, 3, 4, 8, 68)[integer(0, 4)]
    scales = [2.0 ** -(integer(0, 2) + level) for level in range(num_levels)]
    features = []
    for _ in range(num_levels):
        feature = torch.randn(num_images, num_channels, integer(1, 20), integer(1, 20), generator=generator)
        features.append(feature.contiguous(memory_format=torch.channels_last) if seed % 2 else feature)

    num_rois = integer(0, 12) if seed % 20 else 130  # several words of a tile's mask
    reach = 24 / scales[0]
    centers = (torch.rand(num_rois, 2, generator=generator) * 1.6 - 0.3) * reach
    sides = torch.exp(torch.randn(num_rois, 2, generator=generator)) * reach / 4
    kinds = torch.randint(0, 10, (num_rois, 1), generator=generator)
    sides = torch.where(kinds == 0, 0, torch.where(kinds == 1, sides * 100, sides))
    grid = Grid((integer(1, 8), integer(1, 8)), integer(0, 4), bool(integer(0, 1)))
    if grid.sampling_ratio > 0 or not grid.aligned:  # elsewhere torchvision's operator fails on inverted boxes
        sides = torch.where(kinds == 2, -sides, sides)
    images = torch.randint(0, num_images, (num_rois, 1), generator=generator)
    rois = torch.cat((images, centers - sides / 2, centers + sides / 2), dim=1)
    levels = torch.randint(0, num_levels, (num_rois,), generator=generator)
    return Case(features, rois, levels, scales, grid)


def align_errors(case, device="cpu"):
    """Compute the largest differences from torchvision's RoIAlign on the CPU, forward and backward."""
    leaves = [f.clone().requires_grad_() for f in case.features]
    expected = torch.zeros(len(case.rois), case.features[0].shape[1], *case.grid.output_size)
    for level, (leaf, scale) in enumerate(zip(leaves, case.scales, strict=True)):
        here = case.levels == level
        pooled = torchvision.ops.roi_align(
            leaf, case.rois[here], case.grid.output_size, scale, case.grid.sampling_ratio, case.grid.aligned
        )
        expected = expected.index_put((here,), pooled)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0))
    expected_grads = torch.autograd.grad((expected * grad).sum(), leaves)

    case = case.to(device)
    pooled = operations.roi_align(case.features, case.rois, case.levels, case.scales, case.grid, RULE)
    grads = operations.roi_align_backward(grad.to(device), case.rois, case.levels, case.pyramid, case.grid, RULE)
    return difference([pooled], [expected]), difference(grads, expected_grads)


def pool_errors(case, device="cpu"):
    """Compute the largest differences from torchvision's RoIPool on the CPU, forward and backward."""
    leaves = [f.clone().requires_grad_() for f in case.features]
    expected = torch.zeros(len(case.rois), case.features[0].shape[1], *case.grid.output_size)
    for level, (leaf, scale) in enumerate(zip(leaves, case.scales, strict=True)):
        here = case.levels == level
        pooled = torchvision.ops.roi_pool(leaf, case.rois[here], case.grid.output_size, scale)
        expected = expected.index_put((here,), pooled)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0))
    expected_grads = torch.autograd.grad((expected * grad).sum(), leaves)

    case = case.to(device)
    pooled, argmax = operations.roi_pool(
        case.features, case.rois, case.levels, case.scales, case.grid.output_size, RULE
    )
    grads = operations.roi_pool_backward(grad.to(device), argmax, case.rois, case.levels, case.pyramid, RULE)
    return difference([pooled], [expected]), difference(grads, expected_grads)


def difference(ours, theirs):
    """Compute the largest difference between tensors; NaN if one holds a NaN."""
    return max(((a.cpu() - b).abs().max().item() for a, b in zip(ours, theirs, strict=True) if a.numel()), default=0.0)


def main():
    """Check a range of cases; see --help."""
    parser = argparse.ArgumentParser(description="Check random cases of the kernels, compiled as host C++.")
    parser.add_argument("folder", help="folder for the libraries; `cuda` to run the kernels on a GPU instead")
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--source", type=Path, help="file to use instead of the source of the same name")
    parser.add_argument("--sanitize", action="store_true", help="look for bad addresses and undefined behavior")
    parser.add_argument("--reversed", action="store_true", help="run the threads of a block from the last to the first")
    arguments = parser.parse_args()

    others = {
        source: arguments.source for source in RUNNERS if arguments.source and source.name == arguments.source.name
    }
    flags = ("-g", "-O0", *SANITIZERS) if arguments.sanitize else ()
    device = "cuda" if arguments.folder == "cuda" else "cpu"
    if device == "cpu":
        host = HostKernels(arguments.folder, flags, others)
        host.reversed = arguments.reversed
        launcher.launch, rendering.obstacle, rendering._COLOR_BLOCKS = host.launch, lambda *_: "", 2
    for seed in range(arguments.first, arguments.last):
        errors = (*align_errors(draw(seed), device), *pool_errors(draw(seed), device))
        errors = (*errors, bitmap_error(draw_masks(seed), device), num_wrong(draw_boxes(seed), device))
        assert all(error <= 5e-5 for error in errors), f"case {seed}: {errors}"
        assert has_colors(draw_colors(seed), device, "cuda"), f"case {seed}: colors"
        assert is_rendered(draw_rendering(seed), device, "cuda"), f"case {seed}: rendering"
    print("all cases pass")


if __name__ == "__main__":
    main()
