"""Times mask targets, RoIPool and suppression against torchvision's ways to the same values, taking turns.

python tests/ops/time_beside_torchvision.py [cpu|cuda]: medians over the turns, in milliseconds; on the CPU those of the
processor, so that a busy machine matters less, on a GPU those of the clock.
"""

import statistics
import sys
import time

import numpy as np
import torch
import torchvision.ops
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from lightning_rcnn.bench.roi_align import Workload
from lightning_rcnn.ops import align_bitmaps, assign_levels, fill_polygons, multiscale_roi_pool
from lightning_rcnn.ops.nms import batched_nms
from lightning_rcnn.structures import Bitmaps, Polygons

WARM_UP, TURNS = 2, 9


def race(name, device, **contenders):
    """Prints the median time of each contender."""
    times = {contender: [] for contender in contenders}
    clock = time.perf_counter if device == "cuda" else time.process_time
    for turn in range(WARM_UP + TURNS):
        for contender, run in contenders.items():
            if device == "cuda":
                torch.cuda.synchronize()
            start = clock()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn >= WARM_UP:
                times[contender].append(1e3 * (clock() - start))
    figures = "  ".join(f"{contender} {statistics.median(values):.2f}" for contender, values in times.items())
    print(f"{name}: {figures}", flush=True)


def race_masks(name, device, num_images, num_objects, num_regions, sides, height, width):
    """Ellipses whose sides lie in a range, and regions near their boxes."""
    generator = np.random.default_rng(0)
    dense = np.zeros((num_images, num_objects, height, width), np.uint8)
    bits, crop_boxes = [], np.zeros((num_images, num_objects, 4), np.float32)
    angles = np.linspace(0, 2 * np.pi, 129)
    edges = np.zeros((num_images, num_objects, 128, 4), np.float32)
    for image, index in np.ndindex(num_images, num_objects):
        h, w = generator.integers(sides[0], sides[1] + 1, 2)
        top, left = generator.integers(0, height - h + 1), generator.integers(0, width - w + 1)
        y, x = np.ogrid[:h, :w]
        crop = ((y + 0.5) / h - 0.5) ** 2 + ((x + 0.5) / w - 0.5) ** 2 < 0.22
        dense[image, index, top : top + h, left : left + w] = crop
        bits.append(np.packbits(crop))
        crop_boxes[image, index] = left, top, left + w, top + h
        points = np.stack((left + w * (0.5 + 0.47 * np.cos(angles)), top + h * (0.5 + 0.47 * np.sin(angles))), axis=1)
        edges[image, index] = np.concatenate((points[:-1], points[1:]), axis=1)
    ends = np.cumsum([len(crop) for crop in bits]).reshape(num_images, num_objects)
    sizes = (crop_boxes[..., 2:] - crop_boxes[..., :2])[..., ::-1].astype(np.int64)
    first_byte = ends - -(-sizes.prod(-1) // 8)
    packed = map(torch.from_numpy, (np.concatenate(bits), first_byte, sizes, crop_boxes))
    masks = Bitmaps(*(part.to(device) for part in packed))
    outlines = Polygons(torch.from_numpy(edges).to(device))
    gt_index = torch.from_numpy(generator.integers(0, num_objects, (num_images, num_regions))).to(device)
    boxes = masks.boxes.gather(1, gt_index[:, :, None].expand(-1, -1, 4))
    noise = torch.from_numpy(generator.normal(0, 0.08, boxes.shape).astype(np.float32)).to(device)
    boxes = boxes + noise * (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
    is_valid = torch.ones_like(gt_index, dtype=torch.bool)
    whole = torch.from_numpy(dense).to(device)

    def by_torchvision():
        return [project_masks_on_boxes(*image, 28) for image in zip(whole, boxes, gt_index, strict=True)]

    race(
        name,
        device,
        align_bitmaps=lambda: align_bitmaps(masks, boxes, gt_index, is_valid, aligned=False),
        torchvision=by_torchvision,
        fill_polygons=lambda: fill_polygons(outlines, boxes, gt_index, is_valid),
    )


def race_pools(device, num_rois, bins, dtype):
    """Forward and backward over a pyramid; torchvision's in float32, as it knows no bfloat16 on the CPU."""
    workload = Workload(8, 256, 320, 128, (4, 8, 16, 32), 8 * num_rois, bins, clustered=True)
    features = [f.to(device, memory_format=torch.channels_last) for f in workload.features()]
    rois = workload.rois().to(device)
    levels = assign_levels(rois[:, 1:], workload.scales, canonical=(4, 64.0))
    ours = [f.to(dtype).requires_grad_() for f in features]
    theirs = [f.requires_grad_() for f in features]

    def pool():
        pooled = multiscale_roi_pool(ours, rois, output_size=bins, scales=workload.scales, levels=levels)
        torch.autograd.grad(pooled.sum(), ours)

    def pool_each_level():
        pooled = torch.zeros(len(rois), 128, bins, bins, device=device)
        for level, (feature, scale) in enumerate(zip(theirs, workload.scales, strict=True)):
            here = torch.where(levels == level)[0]
            pooled = pooled.index_put((here,), torchvision.ops.roi_pool(feature, rois[here], bins, scale))
        torch.autograd.grad(pooled.sum(), theirs)

    name = f"RoIPool, 8 x {num_rois} regions, {bins} x {bins}, 128 channels, {str(dtype).removeprefix('torch.')}"
    race(name, device, multiscale_roi_pool=pool, torchvision=pool_each_level)


def race_suppression(device, num_images, num_boxes, num_groups, sides):
    """A batch of candidates, against torchvision's operator image by image."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(num_images, num_boxes, 2, generator=generator) * torch.tensor([1333.0, 800.0])
    spread = torch.rand(num_images, num_boxes, 2, generator=generator)
    boxes = torch.cat((corners, corners + sides[0] + spread * (sides[1] - sides[0])), dim=-1).to(device)
    scores = torch.randn(num_images, num_boxes, generator=generator).to(device)
    groups = (torch.arange(num_boxes) * num_groups // num_boxes).expand(num_images, -1).contiguous().to(device)

    def image_by_image():
        return [torchvision.ops.batched_nms(*image, 0.7)[:1000] for image in zip(boxes, scores, groups, strict=True)]

    race(
        f"suppression, {num_images} x {num_boxes} boxes in {num_groups} groups",
        device,
        batched_nms=lambda: batched_nms(boxes, scores, groups, 0.7, 1000),
        torchvision=image_by_image,
    )


def main(device="cpu"):
    """All races on one device."""
    race_masks("8 images x 128 regions of 25 objects, 20 to 60 px", device, 8, 25, 128, (20, 60), 256, 320)
    race_masks("2 images x 128 regions of 10 objects, 100 to 600 px", device, 2, 10, 128, (100, 600), 800, 1333)
    for dtype in (torch.float32, torch.bfloat16):
        for num_rois, bins in ((512, 7), (128, 14)):
            race_pools(device, num_rois, bins, dtype)
    race_suppression(device, 8, 8819, 5, (16, 200))
    race_suppression(device, 8, 20000, 80, (16, 200))


if __name__ == "__main__":
    main(*sys.argv[1:])
