"""Mask R-CNN.

He, Gkioxari, Dollar, Girshick, ICCV 2017, arXiv 1703.06870.

Stages: (1) to (3) are those of Faster R-CNN: backbone, region proposals, box head. In parallel to the box head, (4) a
small fully convolutional network predicts a mask for each region and class.
What changed since Faster R-CNN: RoIAlign samples features at exact positions, where RoIPool rounded to whole pixels;
and the mask branch, one sigmoid mask per class, so that classes do not compete: which class it is, the box head says.

Where we deviate, and why: as in Detectron, and in all references since, masks of C4 models are predicted from the same
region features as boxes; ground-truth masks are sampled from the annotated bitmap or outline, without resizing it to
the network's input before. RoIPool stays selectable (`roi_pool`), so that the ablation of table 2c can be rerun.

Shape letters: N images, R sampled regions, B slots that the mask head works on, D detections, K classes, S side of a
mask.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

from torch import Tensor

from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.transfer import start_from
from lightning_rcnn.errors import InputError
from lightning_rcnn.heads.mask_head import MaskHead
from lightning_rcnn.heads.occupied import slots_to_compute
from lightning_rcnn.losses import LossSum, mask_loss
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.metrics.coco_ap import CocoAveragePrecision
from lightning_rcnn.roi.mask_targets import align_bitmaps, fill_polygons, has_mask
from lightning_rcnn.roi.pooler import as_rois
from lightning_rcnn.structures import Bitmaps, Detections, Inputs, MaskForm, Proposals, Targets
from lightning_rcnn.targets import Regions

MaskTarget = Literal["soft", "thresholded", "polygon"]


class MaskRCNN(FasterRCNN):
    """Mask R-CNN.

    Args:
        class_names: foreground classes in order; only the command line may leave it to the shards.
        mask_roi_size: side of a region pooled for its mask, half of the mask's; 14 if not given. With "c4" masks share
            the regions pooled for boxes, and it cannot be given.
        mask_head_layers: convolutions of the mask head; if not given 0 with "c4", else 4 (figure 4).
        mask_head_width: channels of the mask head.
        mask_target: what a positive region's mask should be: "soft", the average of the annotated bitmap in each cell
            (torchvision); "thresholded", whether that is at least one half (detectron2 with bitmaps); or "polygon",
            whether the cell's centre lies inside of the outline (detectron2 with polygons rasterises them as the COCO
            API does, which differs in less than one cell of a hundred, at the outline). The first two sample as
            `roi_aligned` says.
        mask_paste: how a mask comes into its image: "exact", sampled at the pixels' centres and cut at one half
            (detectron2), or "integer", resized to a box of whole pixels (torchvision).
        weights: a detector to start from, as in `FasterRCNN`.
        **kwargs: of `FasterRCNN`, `RegionBasedDetector` and `Detector`.
    """

    loss_names = (*FasterRCNN.loss_names, "loss_mask")

    def __init__(
        self,
        class_names: Sequence[str] = (),
        mask_roi_size: int | None = None,
        mask_head_layers: int | None = None,
        mask_head_width: int = 256,
        mask_target: MaskTarget = "soft",
        mask_paste: PasteRule = "exact",
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(class_names, **kwargs)
        for key, value, known in (("mask_target", mask_target, MaskTarget), ("mask_paste", mask_paste, PasteRule)):
            if value not in get_args(known):
                raise InputError(f"model.{key} {value!r} is none of {', '.join(get_args(known))}")
        if mask_roi_size is not None and self.has_region_stage:
            raise InputError("model.mask_roi_size: with neck c4 masks come from the regions of boxes; set roi_size")
        num_layers = mask_head_layers if mask_head_layers is not None else (0 if self.has_region_stage else 4)
        self.mask_head = MaskHead(self.region_channels, num_layers, mask_head_width, len(class_names), self.head_norm)
        self.mask_roi_size, self.mask_target, self.mask_paste = mask_roi_size or 14, mask_target, mask_paste
        self.mask_form: MaskForm = "polygons" if mask_target == "polygon" else "bitmaps"
        self.align_bitmaps = partial(align_bitmaps, aligned=self.hparams["roi_aligned"])
        most = self.average_precisions["bbox"].max_detections
        self.average_precisions["segm"] = CocoAveragePrecision(self.class_names, "segm", most, mask_paste)
        if weights is not None:
            start_from(self, weights)

    def loss_sums(self, inputs: Inputs, targets: Targets) -> dict[str, LossSum]:
        """Those of Faster R-CNN and `loss_mask` (section 3: L = L_cls + L_box + L_mask)."""
        features = self.backbone(self.normalise(inputs.images, inputs.image_sizes))
        sums, proposals = self._rpn_losses(features, inputs, targets)
        regions = self.region_targets(proposals, targets, inputs.image_ids, 2 * self.sampling_seed + 1)
        region_features = self._region_features(features, regions.boxes, regions.is_valid)
        sums |= self._box_losses(region_features, regions)
        sums["loss_mask"] = self._mask_loss(features, region_features, regions, targets)
        return sums

    def _mask_loss(
        self, features: list[Tensor], region_features: Tensor, regions: Regions, targets: Targets
    ) -> LossSum:
        """Section 3: defined on positive regions only, and on the mask of their own class only."""
        if targets.masks is None:
            raise InputError(
                "Mask R-CNN needs masks to train on, and the batch has none: pack a set with segmentations"
            )
        learns = regions.is_positive & has_mask(targets.masks).gather(1, regions.gt_index)
        # Positives come first, so that these are all of them.
        first = slice(self.max_positives)
        boxes, learns, gt_index = regions.boxes[:, first], learns[:, first], regions.gt_index[:, first]
        slots = slots_to_compute(learns)
        if self.has_region_stage:
            pooled = region_features.unflatten(0, regions.is_valid.shape)[:, first].flatten(0, 1)[slots]
        else:
            pooled = self.pool(features, as_rois(boxes, learns)[slots], self.mask_roi_size)
        logits = self.mask_head(pooled)
        size = logits.shape[-1]
        if isinstance(targets.masks, Bitmaps):
            gt_masks = self.align_bitmaps(targets.masks, boxes, gt_index, learns, size=size)
        else:
            gt_masks = fill_polygons(targets.masks, boxes, gt_index, learns, size=size)
        if self.mask_target == "thresholded":
            gt_masks = (gt_masks >= 0.5).float()
        own_logits = _of_class(logits, regions.labels[:, first].flatten()[slots])
        return LossSum(mask_loss(own_logits, gt_masks.flatten(0, 1)[slots], learns.flatten()[slots]), learns.sum())

    def predict(self, inputs: Inputs) -> tuple[Detections, Proposals]:
        """Detections with masks, and proposals, in the resized frame."""
        features = self.backbone(self.normalise(inputs.images, inputs.image_sizes))
        proposals = self.propose(features, inputs)
        detections = self._detect_boxes(features, proposals, inputs.image_sizes)
        # Section 3.1, inference: the mask branch looks at the detections, whose boxes are better than the proposals.
        is_detection = detections.labels > 0
        slots = slots_to_compute(is_detection)
        size = self.roi_size if self.has_region_stage else self.mask_roi_size
        pooled = self.pool(features, as_rois(detections.boxes, is_detection)[slots], size)
        logits = _of_class(self.mask_head(self.region_stage(pooled)), detections.labels.flatten()[slots])
        own_masks = logits.sigmoid() * is_detection.flatten()[slots, None, None]
        masks = logits.new_zeros((is_detection.numel(), *logits.shape[1:])).index_copy(0, slots, own_masks)
        return detections._replace(masks=masks.unflatten(0, is_detection.shape)), proposals


def _of_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Float32 [B, S, S] of logits [B, K, S, S]: those of `labels` [B], 1..K; of the first class for others."""
    own = (labels - 1).clamp(min=0)[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    return logits.gather(1, own).squeeze(1).float()
