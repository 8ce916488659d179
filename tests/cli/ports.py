"""A backbone, a box branch and a detector from outside of the package; test_ports.py copies them beside a run."""

import numbers
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.utils.data import Dataset

from lightning_rcnn import FasterRCNN
from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.functional.boxes import clip_boxes, decode, has_min_size
from lightning_rcnn.functional.losses import LossSum
from lightning_rcnn.functional.targets import RoIs
from lightning_rcnn.parts import Part
from lightning_rcnn.roi_heads.box_branch import BOX_WEIGHTS, BoxBranch, BoxSettings
from lightning_rcnn.roi_heads.pooler import PooledFeatures, RoIPooler, as_rois
from lightning_rcnn.structures import Detections, Inputs, Proposals, Targets


class TwoMaps(Backbone):
    """Feature maps of the strides 8 and 16 from a handful of convolutions."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.strides, self.out_channels = (8, 16), channels
        widths = (3, 8, 8, channels, channels)
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.ReLU())
            for before, after in pairwise(widths)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute maps [N, C, H / 8, W / 8] and [N, C, H / 16, W / 16]."""
        maps = [images]
        for step in self.steps:
            maps.append(step(maps[-1]))
        return maps[-2:]


@dataclass(frozen=True)
class CascadeSettings(BoxSettings):
    """Settings of two box branches, where the second refines the boxes of the first (Cascade R-CNN).

    Args:
        second_iou: IoU with an object from which on a region is positive for the second branch.
    """

    second_iou: float = 0.6

    def build(self, backbone: Backbone, pooler: RoIPooler, num_classes: int) -> "Cascade":  # type: ignore[override]
        """Build both branches."""
        return Cascade(self, backbone, pooler, num_classes)


class Cascade(Part):
    """Two box branches, one after the other."""

    profiled: ClassVar[Mapping[str, str]] = {"refined": "cascade"}

    def __init__(self, settings: CascadeSettings, backbone: Backbone, pooler: RoIPooler, num_classes: int) -> None:
        super().__init__()
        stricter = replace(settings, positive_iou=settings.second_iou, negative_iou=settings.second_iou)
        self.first = BoxBranch(settings, backbone, pooler, num_classes)
        self.second = BoxBranch(stricter, backbone, pooler, num_classes)
        self.pooled_size, self.max_positives = self.second.pooled_size, self.second.max_positives

    def losses(
        self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs, targets: Targets, seed: Tensor
    ) -> tuple[dict[str, LossSum], RoIs]:
        """Compute the losses of both branches, and the regions of the second one."""
        first, _ = self.first.losses(pooled, proposals, inputs, targets, seed)
        refined = self.refined(pooled, proposals, inputs)
        second, rois = self.second.losses(pooled, refined, inputs, targets, seed + 1_000_003)
        return first | {f"{name}_second": loss for name, loss in second.items()}, rois

    def predict(self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs) -> Detections:
        """Detect by the second branch."""
        return self.second.predict(pooled, self.refined(pooled, proposals, inputs), inputs)

    @torch.no_grad()
    def refined(self, pooled: PooledFeatures, proposals: Proposals, inputs: Inputs) -> Proposals:
        """Move each proposal to the box of its best class of the first branch; no gradient passes through it."""
        features = pooled(as_rois(proposals.boxes, proposals.is_valid), self.pooled_size)
        logits, deltas = self.first.predictor(self.first.head(features))
        best = logits[:, 1:].argmax(1)
        own = deltas[torch.arange(len(best), device=best.device), best].unflatten(0, proposals.is_valid.shape)
        boxes = clip_boxes(decode(own, proposals.boxes, BOX_WEIGHTS), inputs.image_sizes)
        return proposals._replace(boxes=boxes, is_valid=proposals.is_valid & has_min_size(boxes, 1.0))


class TwoSpeeds(FasterRCNN):
    """A Faster R-CNN whose backbone learns ten times as slowly."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group the parameters by their speed."""
        backbone = list(self.backbone.parameters())
        known = set(map(id, backbone))
        others = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return [{"params": others}, {"params": backbone, "lr": 0.1 * self.learning_rate}]


class Scenes(Dataset[Any]):
    """Boxes in noise; counts how often it is built."""

    classes = ("box",)
    times_built: ClassVar[int] = 0

    def __init__(self, num: int, fails: bool = False) -> None:
        Scenes.times_built += 1
        if fails:
            raise ValueError("no\nscenes")
        self.num = num

    def __len__(self) -> int:
        return self.num

    def __deepcopy__(self, memo: Any) -> Any:
        raise AssertionError("it may be large")

    def __getitem__(self, number: int) -> Any:
        image = torch.rand(3, 64, 80, generator=torch.Generator().manual_seed(number))
        return image, {"boxes": torch.tensor([[8.0, 8, 40, 30]]), "labels": torch.tensor([1])}


class StopInSecondEpoch(Callback):
    """Sends a stop signal in the middle of the second of two epochs."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 0):
            os.kill(os.getpid(), signal.SIGUSR1)


class Blend(nn.Module):
    """A transform whose argument is of a kind that jsonargparse cannot write."""

    def __init__(self, share: numbers.Rational) -> None:
        super().__init__()
        self.share = share

    def forward(self, image: Tensor, target: Any) -> Any:
        """Nothing."""
        return image, target
