"""The check of an exported file: the same detections as the detector's on the same images.

Shape letters: N images, D detections, P proposals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.shown_bands import shown_bands
from lightning_rcnn.errors import InputError
from lightning_rcnn.export.graph import ExportGraph
from lightning_rcnn.export.program import Exportable, Outputs, Runner

MOST_IMAGES = 8
"""Images that are compared; more take time and tell no more."""
_BATCH = 4
_NARROW = 12
"""Part of an image that is compared as an image of its own, whose coarser maps have one line."""
_SCENE_SIZES = ((480, 640), (640, 480), (500, 500))


class Tolerance(NamedTuple):
    """Differences up to which a file counts as equal to its detector.

    Attributes:
        boxes: pixels of the network's input.
        scores: probability.
        masks: probability; see `mask_difference`.
        keypoints: pixels of the network's input.
    """

    boxes: float = 1e-2
    scores: float = 1e-4
    masks: float = 1e-3
    keypoints: float = 1e-1


class Comparison(NamedTuple):
    """The largest differences in one batch.

    Attributes:
        shape: (N, height, width) of the batch.
        detections: number of the detector's detections.
        unmatched: detections of either side without one of the same class at the other.
        boxes, scores, masks, keypoints: largest differences of matched ones, in the units of `Tolerance`.
    """

    shape: tuple[int, int, int]
    detections: int
    unmatched: int
    boxes: float
    scores: float
    masks: float
    keypoints: float

    def is_within(self, tolerance: Tolerance) -> bool:
        """Tell whether no difference exceeds the tolerance."""
        differences = (self.boxes, self.scores, self.masks, self.keypoints)
        return self.unmatched == 0 and all(
            difference <= limit for difference, limit in zip(differences, tolerance, strict=True)
        )


def compare(detector: Exportable, run: Runner, images: Sequence[Tensor], tolerance: Tolerance) -> list[Comparison]:
    """Run an exported file and its detector on each image alone, on up to four together, and on a narrow strip.

    Args:
        detector: the detector, in evaluation mode, with the limits of the export.
        run: the file.
        images: [C, h, w] of any sizes; the first `MOST_IMAGES` are used.
        tolerance: detections at the limit of scores, closer than this, may miss on one side.
    """
    images = images[:MOST_IMAGES]
    batches = [[image] for image in images] + ([list(images[:_BATCH])] if len(images) > 1 else [])
    batches.append([images[0][:, : -(-images[0].shape[1] // _NARROW)]])
    graph = ExportGraph(detector)
    rows = []
    for batch in batches:
        arguments = graph_inputs(detector, batch)
        with torch.inference_mode():
            expected, found = graph(*arguments), run(arguments)
        scales = (arguments[1] / arguments[2]).amin(dim=1).tolist()
        pairs = [_differences(expected, found, slot, scale, tolerance) for slot, scale in enumerate(scales)]
        unmatched, *differences = zip(*pairs, strict=True)
        shape = (len(batch), arguments[0].shape[2], arguments[0].shape[3])
        count = int(expected["count"].sum())
        rows.append(Comparison(shape, count, sum(unmatched), *map(max, differences)))
    return rows


def require_equal(comparisons: Sequence[Comparison], tolerance: Tolerance) -> None:
    """Refuse a file that differs from its detector.

    Raises:
        InputError: a difference exceeds the tolerance.
    """
    wrong = [row for row in comparisons if not row.is_within(tolerance)]
    if wrong:
        worst = max(wrong, key=lambda row: (row.unmatched, row.boxes))
        raise InputError(
            f"the exported graph differs from the detector: {worst.unmatched} of {worst.detections} detections have no "
            f"counterpart, boxes differ by {worst.boxes:.2g} pixels, scores by {worst.scores:.2g}, masks by "
            f"{worst.masks:.2g}, keypoints by {worst.keypoints:.2g} pixels (allowed: 0, {tolerance.boxes:g}, "
            f"{tolerance.scores:g}, {tolerance.masks:g}, {tolerance.keypoints:g}); nothing is written"
            f"{_hint(len(comparisons) - len(wrong), len(comparisons))}"
        )


def _hint(num_equal: int, num_batches: int) -> str:
    if not num_equal:
        return ""
    return (
        f". {num_equal} of {num_batches} batches are equal: if few detections differ in the others, two had equal "
        "scores but for a rounding, and either may suppress the other; give other images to compare on"
    )


def graph_inputs(detector: Exportable, images: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Resize and pad images to one batch, the inputs of `ExportGraph`.

    Args:
        detector: detector whose rules apply, and whose search proposes regions if it needs them.
        images: [C, h, w] of any sizes.
    """
    preprocessing, device = detector.preprocessing, detector.device
    resized = [preprocessing.resize(image) for image in images]
    padded = [preprocessing.padded_size(*image.shape[1:]) for image in resized]
    height, width = (max(edges) for edges in zip(*padded, strict=True))
    batch = [F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in resized]
    sizes, originals = (torch.tensor([image.shape[1:] for image in some]).to(device) for some in (resized, images))
    inputs = (torch.stack(batch).to(device), sizes, originals)
    if detector.search is None:
        return inputs
    pictures = [shown_bands(image, preprocessing.pixels) for image in images]
    found = [torch.from_numpy(detector.search(picture)[: detector.proposal_limit, :4]) for picture in pictures]
    return *inputs, torch.nn.utils.rnn.pad_sequence(found, batch_first=True).to(device)


def draw_scenes(pixels: PixelFormat = RGB) -> list[Tensor]:
    """Draw images of three sizes with rectangles on smooth noise, the same at each call.

    Args:
        pixels: pixel format of the images; channels beyond three repeat the colors.
    """
    generator = torch.Generator().manual_seed(0)
    images = []
    for height, width in _SCENE_SIZES:
        noise = torch.rand((1, 3, height // 40, width // 40), generator=generator)
        image = F.interpolate(noise, size=(height, width), mode="bilinear")[0] * 255
        for _ in range(6):
            y, x, rows, columns = (torch.rand(4, generator=generator) * torch.tensor([height, width, 200, 200])).long()
            image[:, y : y + rows + 20, x : x + columns + 20] = 255 * torch.rand((3, 1, 1), generator=generator)
        image = image[[channel % len(image) for channel in range(pixels.channels)]]
        images.append(image.to(torch.uint8) if pixels.is_eight_bit else image)
    return images


def mask_difference(mask: Tensor, other: Tensor) -> float:
    """Return the largest difference of two masks [S, S] but for one cell in a thousand.

    PointRend refines the least certain points of a large mask; which is the last of them may hang on a rounding.
    """
    differences = (mask - other).abs().flatten().sort(descending=True).values
    return differences[len(differences) // 1000].item()


def _differences(
    expected: Outputs, found: Outputs, slot: int, scale: float, tolerance: Tolerance
) -> tuple[int, float, float, float, float]:
    """Match the detections of one image by class and box; return unmatched, and the differences of the others."""
    ours, theirs = (_of_image(outputs, slot) for outputs in (expected, found))
    free = set(range(len(theirs["labels"])))
    unmatched, boxes, scores, masks, keypoints = [], 0.0, 0.0, 0.0, 0.0
    for index, label in enumerate(ours["labels"].tolist()):
        distances = (theirs["boxes"] - ours["boxes"][index]).abs().amax(dim=1) * scale
        candidates = [other for other in free if theirs["labels"][other] == label]
        best = min(candidates, key=distances.__getitem__, default=None)
        if best is None:
            unmatched.append(ours["scores"][index].item())
            continue
        free.remove(best)
        boxes = max(boxes, distances[best].item())
        scores = max(scores, (theirs["scores"][best] - ours["scores"][index]).abs().item())
        if "masks" in ours:
            masks = max(masks, mask_difference(theirs["masks"][best], ours["masks"][index]))
        if "keypoints" in ours:
            keypoints = max(keypoints, _distance(theirs["keypoints"][best], ours["keypoints"][index]) * scale)
    unmatched += theirs["scores"][sorted(free)].tolist()
    # The last of as many as there may be, or one at the threshold, is on one side by less than a rounding.
    all_scores = torch.cat([ours["scores"], theirs["scores"]])
    lowest = all_scores.min().item() if len(all_scores) else 0.0
    return sum(score > lowest + tolerance.scores for score in unmatched), boxes, scores, masks, keypoints


def _distance(theirs: Tensor, ours: Tensor) -> float:
    """Return the largest distance in x or y of keypoints [J, 3], pixels."""
    return (theirs[:, :2] - ours[:, :2]).abs().max().item()


def _of_image(outputs: Outputs, slot: int) -> dict[str, Tensor]:
    """Return the detections of one image without padding, on the CPU."""
    count = int(outputs["count"][slot])
    return {name: values[slot, :count].float().cpu() for name, values in outputs.items() if name != "count"}
