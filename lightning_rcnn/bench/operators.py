"""Mask targets, RoIPool and non-maximum suppression against torchvision's ways to the same values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torchvision.ops
from torch import Tensor
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from lightning_rcnn.bench.detectors.scene import Scene
from lightning_rcnn.bench.roi_align import Workload
from lightning_rcnn.ops import align_bitmaps, assign_levels, fill_polygons, multiscale_roi_pool
from lightning_rcnn.ops.nms import batched_nms
from lightning_rcnn.structures import Bitmaps, Polygons

Operator = Literal["mask-targets", "roi-pool", "nms"]
_MASK_SIZE = 28
_EDGES = 128


@dataclass(frozen=True)
class Case:
    """One workload and the functions that are timed on it.

    Attributes:
        name: workload, as a name in the table.
        contenders: functions by name; "torchvision" is the one that the others are compared with.
    """

    name: str
    contenders: dict[str, Callable[[], object]]


def cases(operators: tuple[Operator, ...], device: torch.device) -> Iterator[Case]:
    """Build the workloads of a training one after the other, so that one is in memory at a time."""
    if "mask-targets" in operators:
        yield mask_targets(Scene.random(8, 256, 320, 25, 80, sides=(0.08, 0.2)), 128, device)
        yield mask_targets(Scene.random(2, 800, 1333, 10, 80, sides=(0.1, 0.45)), 128, device)
    if "roi-pool" in operators:
        for dtype in (torch.float32, torch.bfloat16):
            for num_rois, bins in ((4096, 7), (1024, 14)):
                yield roi_pool(
                    Workload(8, 256, 320, 128, (4, 8, 16, 32), num_rois, bins, clustered=True), dtype, device
                )
    if "nms" in operators:
        yield suppression(8, 8819, 5, device)
        yield suppression(8, 20000, 80, device)


def mask_targets(scene: Scene, num_regions: int, device: torch.device) -> Case:
    """Targets of regions near the objects of a scene, from bitmaps, from outlines, and from masks of the image's size.

    Args:
        scene: images with objects.
        num_regions: number of regions in each image.
        device: device that runs the operators.
    """
    num_images, num_objects = scene.labels.shape
    gt_index = torch.randint(num_objects, (num_images, num_regions))
    boxes = scene.boxes.gather(1, gt_index[..., None].expand(-1, -1, 4))
    boxes = (boxes + 0.08 * torch.randn_like(boxes) * (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)).to(device)
    gt_index, is_valid = gt_index.to(device), torch.ones_like(gt_index, dtype=torch.bool, device=device)
    scene = scene.to(device)
    bitmaps, outlines = scene.targets(with_masks=True).masks, _outlines(scene.boxes)
    assert isinstance(bitmaps, Bitmaps)
    whole = [target["masks"] for target in scene.torchvision_targets(with_masks=True)]

    def by_torchvision() -> list[Tensor]:
        return [project_masks_on_boxes(*image, _MASK_SIZE) for image in zip(whole, boxes, gt_index, strict=True)]

    height, width = scene.images.shape[-2:]
    return Case(
        f"mask targets, {num_images} images {height} x {width}, {num_regions} regions of {num_objects} objects",
        {
            "torchvision": by_torchvision,
            "align_bitmaps": lambda: align_bitmaps(bitmaps, boxes, gt_index, is_valid, size=_MASK_SIZE, aligned=False),
            "fill_polygons": lambda: fill_polygons(outlines, boxes, gt_index, is_valid, size=_MASK_SIZE),
        },
    )


def roi_pool(workload: Workload, dtype: torch.dtype, device: torch.device) -> Case:
    """Forward and backward over a pyramid; torchvision's in float32, since it has no bfloat16 on the CPU.

    Args:
        workload: pyramid and regions.
        dtype: type of our features.
        device: device that runs the operators.
    """
    features = [f.to(device, memory_format=torch.channels_last) for f in workload.features()]
    rois, bins, scales = workload.rois().to(device), workload.bins, workload.scales
    levels = assign_levels(rois[:, 1:], scales)
    ours = [f.to(dtype, copy=True).requires_grad_() for f in features]
    theirs = [f.requires_grad_() for f in features]

    def pool() -> tuple[Tensor, ...]:
        pooled = multiscale_roi_pool(ours, rois, output_size=bins, scales=scales, levels=levels)
        return pooled, *torch.autograd.grad(pooled.sum(), ours)

    def pool_each_level() -> tuple[Tensor, ...]:
        pooled = torch.zeros(len(rois), workload.num_channels, bins, bins, device=device)
        for level, (feature, scale) in enumerate(zip(theirs, scales, strict=True)):
            (of_level,) = torch.where(levels == level)
            pooled = pooled.index_put((of_level,), torchvision.ops.roi_pool(feature, rois[of_level], bins, scale))
        return pooled, *torch.autograd.grad(pooled.sum(), theirs)

    kind = f"{bins} x {bins} bins, {workload.num_channels} channels, {str(dtype).removeprefix('torch.')}"
    return Case(
        f"RoIPool, {workload.num_rois} regions, {kind}", {"torchvision": pool_each_level, "multiscale_roi_pool": pool}
    )


def suppression(num_images: int, num_boxes: int, num_groups: int, device: torch.device) -> Case:
    """A batch of candidates of 16 to 200 pixels, against torchvision's operator image by image.

    Args:
        num_images: images in the batch.
        num_boxes: candidates in each image.
        num_groups: groups of candidates (levels or classes), each suppressed by itself.
        device: device that runs the operators.
    """
    corners = torch.rand(num_images, num_boxes, 2) * torch.tensor([1333.0, 800.0])
    boxes = torch.cat((corners, corners + 16 + 184 * torch.rand(num_images, num_boxes, 2)), dim=-1).to(device)
    scores = torch.randn(num_images, num_boxes).to(device)
    groups = (torch.arange(num_boxes) * num_groups // num_boxes).expand(num_images, -1).contiguous().to(device)

    def image_by_image() -> list[Tensor]:
        return [torchvision.ops.batched_nms(*image, 0.7)[:1000] for image in zip(boxes, scores, groups, strict=True)]

    return Case(
        f"NMS, {num_images} x {num_boxes} boxes in {num_groups} groups",
        {"torchvision": image_by_image, "batched_nms": lambda: batched_nms(boxes, scores, groups, 0.7, 1000)},
    )


def _outlines(boxes: Tensor) -> Polygons:
    """Outline the ellipses of a scene, one pixel inside their boxes [N, M, 4]."""
    angles = torch.linspace(0, 2 * torch.pi, _EDGES + 1, device=boxes.device)
    circle = torch.stack((angles.cos(), angles.sin()), dim=-1)
    low, high = boxes[..., None, :2] + 1, boxes[..., None, 2:] - 1
    points = (low + high) / 2 + (high - low) / 2 * circle
    return Polygons(torch.cat((points[..., :-1, :], points[..., 1:, :]), dim=-1))
