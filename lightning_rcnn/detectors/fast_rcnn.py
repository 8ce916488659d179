"""Fast R-CNN.

Girshick, ICCV 2015, arXiv 1504.08083.

Stages: (1) a backbone computes features of the whole image once; (2) regions proposed by another algorithm are pooled
from them (RoIPool); (3) the box head classifies each region and refines its box. What changed since R-CNN: one pass of
the network for an image instead of one for a region, and one training of softmax and box regression together instead of
three stages.

Where we deviate, and why: the ground truth joins the proposals in training, as in Girshick's code and all since; images
come in any number a batch (the paper's 2 x 64 regions are `data.batch_size` and `box_samples_per_image`); torchvision's
AlexNet stands for CaffeNet. Numbers default to the paper's.

Shape letters: N images, P proposals.
"""

from collections.abc import Sequence
from typing import Any

from lightning_rcnn.backbones.norms import NormName
from lightning_rcnn.detectors.on_proposals import given_proposals
from lightning_rcnn.detectors.region_based import BackboneName, RegionBasedDetector
from lightning_rcnn.detectors.transfer import start_from
from lightning_rcnn.errors import InputError
from lightning_rcnn.heads.truncated_svd import make_room
from lightning_rcnn.losses import LossSum
from lightning_rcnn.proposals.selective_search import SelectiveSearch, SelectiveSearchMode
from lightning_rcnn.roi.pooler import PoolName
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets


class FastRCNN(RegionBasedDetector):
    """Fast R-CNN.

    Args:
        class_names: foreground classes in order; only the command line may leave it to the shards.
        backbone: "vgg16", "alexnet", or a ResNet.
        norm: follows each convolution; None for AlexNet and VGG16 as they were, "batch_norm" from scratch. A ResNet
            needs one, "frozen_batch_norm" with ImageNet weights.
        roi_pool: "pool" or "align".
        box_head_width, box_head_dropout: fc6 and fc7 of AlexNet and VGG16.
        box_samples_per_image: section 2.3: a quarter of 64 positive.
        box_lowest_negative_iou: section 2.3: background from [.1, .5), "a heuristic for hard example mining".
        box_loss_beta: equation 3.
        nms_iou: of detections.
        proposal_limit: how many proposals of an image are looked at.
        selective_search_mode: what makes proposals for an image that comes without, in `detect`; as for those trained
            on, see `lightning-rcnn propose`.
        selective_search_width: likewise, pixels to which the image is scaled before.
        svd_ranks: of fc6 and fc7 after truncation (section 3.1), as `lightning-rcnn compress` sets it.
        weights: a detector to start from: a file or URL of one of ours.
        **kwargs: of `RegionBasedDetector` and `Detector`.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        backbone: BackboneName = "vgg16",
        norm: NormName | None = None,
        roi_pool: PoolName = "pool",
        box_head_width: int = 4096,
        box_head_dropout: float = 0.5,
        box_samples_per_image: int = 64,
        box_lowest_negative_iou: float = 0.1,
        box_loss_beta: float = 1.0,
        nms_iou: float = 0.3,
        proposal_limit: int = 2000,
        selective_search_mode: SelectiveSearchMode = "fast",
        selective_search_width: int = 500,
        svd_ranks: tuple[int, int] | None = None,
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            class_names,
            backbone=backbone,
            norm=norm,
            roi_pool=roi_pool,
            box_head_width=box_head_width,
            box_head_dropout=box_head_dropout,
            box_samples_per_image=box_samples_per_image,
            box_lowest_negative_iou=box_lowest_negative_iou,
            box_loss_beta=box_loss_beta,
            nms_iou=nms_iou,
            **kwargs,
        )
        if proposal_limit < 1:
            raise InputError(f"model.proposal_limit {proposal_limit}: at least 1")
        self.proposal_limit = proposal_limit
        self.search = SelectiveSearch(selective_search_mode, selective_search_width, proposal_limit)
        if svd_ranks is not None:
            make_room(self.box_head, svd_ranks)
        if weights is not None:
            start_from(self, weights)

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """`loss_classifier`, `loss_box` (section 2.3, equation 1)."""
        features = self.backbone(self.normalise(inputs.images, inputs.image_sizes))
        regions = self.region_targets(given_proposals(inputs), targets, inputs.image_ids, self.sampling_seed)
        region_features = self._region_features(features, regions.boxes, regions.is_valid)
        return self._box_losses(region_features, regions)

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Detections and the given proposals, in the resized frame."""
        features = self.backbone(self.normalise(inputs.images, inputs.image_sizes))
        proposals = given_proposals(inputs)
        return self._detect_boxes(features, proposals, inputs.image_sizes), proposals
