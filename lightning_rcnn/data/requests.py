"""What a detector asks of its data."""

from dataclasses import dataclass

from lightning.pytorch import LightningModule

from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.skeleton import Skeleton
from lightning_rcnn.structures import MaskForm


@dataclass(frozen=True)
class DataRequests:
    """What is asked of the data: by the attached model, or else by the attributes of the data module.

    Attributes:
        consumer: class of the attached model, for messages; empty without one.
        pixels: format to which images are decoded; None for that of the data.
        rule: resize rule of training and prediction.
        evaluation_rule: resize rule of evaluation.
        mask_form: form of the masks in training batches.
        evaluation_mask_form: form of the masks in evaluation batches.
        proposal_limit: stored proposals per image in a batch; 0 for none.
        skeleton: keypoints in batches; None for none.
        counts_labels: whether the model needs to know of how many images and of which each class is known.
    """

    consumer: str
    pixels: PixelFormat | None
    rule: ResizeRule
    evaluation_rule: ResizeRule
    mask_form: MaskForm
    evaluation_mask_form: MaskForm
    proposal_limit: int
    skeleton: Skeleton | None
    counts_labels: bool


def requests_of(
    module: LightningModule | None,
    resize_rule: ResizeRule,
    mask_form: MaskForm,
    proposal_limit: int,
    skeleton: Skeleton | None,
) -> DataRequests:
    """Return what a model asks for.

    Args:
        module: attached model; None without one.
        resize_rule, mask_form, proposal_limit, skeleton: what counts where the model says nothing.
    """
    rule: ResizeRule = getattr(module, "resize_rule", resize_rule)
    return DataRequests(
        consumer="" if module is None else type(module).__name__,
        pixels=getattr(module, "pixels", None),
        rule=rule,
        evaluation_rule=getattr(module, "evaluation_resize_rule", rule),
        mask_form=getattr(module, "mask_form", mask_form),
        evaluation_mask_form=getattr(module, "evaluation_mask_form", "none"),
        proposal_limit=getattr(module, "proposal_limit", proposal_limit),
        skeleton=getattr(module, "skeleton", skeleton),
        counts_labels=getattr(module, "is_federated", False),
    )
