"""Proposals of a trained region proposal network, for storage with the images."""

from dataclasses import replace
from hashlib import file_digest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.inference import inputs_of
from lightning_rcnn.detectors.keypoint_rcnn import KeypointRCNN
from lightning_rcnn.detectors.loading import load_detector
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.proposal_network import ProposalNetwork
from lightning_rcnn.errors import InputError
from lightning_rcnn.functional.boxes import rescale


class RegionProposals:
    """The region proposal network of a Faster or Mask R-CNN, applied to one image at a time, on a GPU if there is one.

    Scores and NMS are those of evaluation, but at least `limit` boxes of a level enter NMS.

    Args:
        checkpoint: checkpoint of the detector.
        limit: limit of proposals per image.

    Attributes:
        method: description of the network and its settings, stored with the proposals.
        pixels: pixel format that it takes.

    Raises:
        InputError: see `load_detector`; or the detector has no region proposal network.
    """

    def __init__(self, checkpoint: Path, limit: int) -> None:
        detector = load_detector(checkpoint)
        if not isinstance(detector, (FasterRCNN, MaskRCNN, KeypointRCNN, ProposalNetwork)):
            raise InputError(
                f"{checkpoint}: {type(detector).__name__} has no region proposal network; give a Faster, Mask or "
                "Keypoint R-CNN"
            )
        with checkpoint.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        in_training, in_evaluation = detector.rpn.settings.pre_nms_top_n
        detector.rpn.settings = replace(
            detector.rpn.settings,
            pre_nms_top_n=(in_training, max(in_evaluation, limit)),
            post_nms_top_n=(limit, limit),
        )
        self._detector = detector.to("cuda" if torch.cuda.is_available() else "cpu")
        self.pixels = detector.pixels
        self.method = f"{type(detector).__name__}'s RPN in {checkpoint.name} ({digest[:16]}), best {limit}"

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> np.ndarray:
        """Propose boxes in an image [C, h, w] of the format `pixels`, 0 to 255.

        Returns:
            float32 [P, 5], boxes in the frame of the image and scores, best first.
        """
        inputs = inputs_of(self._detector, [image])
        features = self._detector.backbone(self._detector.normalize(inputs))
        proposals = self._detector.rpn.predict(features, inputs)
        original = torch.tensor([image.shape[-2:]], device=inputs.image_sizes.device)
        boxes = rescale(proposals.boxes, inputs.image_sizes, original)[0]
        kept = proposals.is_valid[0] & (boxes[:, 2:] > boxes[:, :2]).all(-1)
        return torch.cat([boxes, proposals.scores[0, :, None]], dim=1)[kept].float().cpu().numpy()
