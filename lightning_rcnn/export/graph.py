"""The graph that is exported: from resized uint8 images to padded detections in the frame of the original images.

Inside the graph are the order of channels, normalization, zeros in the padding, the detector, and the mapping of boxes
to the original frame, all with tensors of fixed shapes. Beside it is the resizing: the images of a batch have different
sizes before it, and its antialiasing on whole numbers is no operator that all runtimes share; the file states its rule.
Masks leave the graph as probabilities in a grid that fills the box, because pasted ones would take megabytes for each
image, most of them zeros.

Shape letters: N images, H and W padded height and width, P proposals, D detections, S side of a mask,
J keypoints.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_rcnn.functional.boxes import rescale
from lightning_rcnn.functional.postprocess import to_original_frame
from lightning_rcnn.structures import PADDING_LABEL, Detections, Inputs, Proposals


class ExportGraph(nn.Module):
    """A detector as a function of tensors.

    Args:
        detector: the detector.
    """

    detector: Any

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(
        self, images: Tensor, image_sizes: Tensor, original_sizes: Tensor, proposals: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Detect objects.

        Args:
            images: [N, C, H, W], RGB, 0 to 255, resized, padded on the right and at the bottom by anything; uint8, or
                float32 where the resize rule works on floats.
            image_sizes: int64 [N, 2], (height, width) of the resized images without padding.
            original_sizes: int64 [N, 2], (height, width) before the resizing.
            proposals: float32 [N, P, 4], xyxy in pixels of the original images; boxes without area are padding. Only
                for detectors that do not compute their own.

        Returns:
            `boxes` float32 [N, D, 4] (xyxy, pixels of the original image), `scores` float32 [N, D] and `labels` int64
            [N, D], best first; `count` int64 [N], the number of detections, behind which scores are 0 and labels -1;
            and, if the detector predicts masks, `masks` float32 [N, D, S, S]; if it predicts keypoints, `keypoints`
            float32 [N, D, J, 3], x, y (pixels of the original image) and score.
        """
        given = None if proposals is None else self._as_proposals(proposals, original_sizes, image_sizes)
        inputs = Inputs(images, image_sizes, torch.zeros_like(image_sizes[:, 0]), given)
        detections, _ = self.detector.predict(inputs)
        return _compact(to_original_frame(detections, image_sizes, original_sizes))

    def _as_proposals(self, boxes: Tensor, original_sizes: Tensor, image_sizes: Tensor) -> Proposals:
        is_valid = (boxes[..., 2:] > boxes[..., :2]).all(-1)
        resized = torch.where(is_valid[..., None], rescale(boxes, original_sizes, image_sizes), 0.0)
        return Proposals(resized, torch.where(is_valid, 0.0, -torch.inf), is_valid)


def _compact(detections: Detections) -> dict[str, Tensor]:
    """Move padding between detections (boxes that were empty in the original frame) to the end, and count the rest."""
    is_padding = detections.labels <= 0
    _, order = is_padding.to(torch.int32).sort(dim=1, stable=True)
    is_padding = is_padding.gather(1, order)
    outputs = {
        "boxes": detections.boxes.gather(1, order[..., None].expand(-1, -1, 4)).masked_fill(is_padding[..., None], 0.0),
        "scores": detections.scores.gather(1, order),
        "labels": detections.labels.gather(1, order).masked_fill(is_padding, PADDING_LABEL),
        "count": (~is_padding).sum(1),
    }
    if detections.masks is not None:
        side = detections.masks.shape[-1]
        masks = detections.masks.gather(1, order[..., None, None].expand(-1, -1, side, side))
        outputs["masks"] = masks.masked_fill(is_padding[..., None, None], 0.0)
    if detections.keypoints is not None:
        number = detections.keypoints.shape[2]
        keypoints = detections.keypoints.gather(1, order[..., None, None].expand(-1, -1, number, 3))
        outputs["keypoints"] = keypoints.masked_fill(is_padding[..., None, None], 0.0)
    return outputs
