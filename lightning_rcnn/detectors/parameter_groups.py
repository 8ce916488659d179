"""Parameter groups: norms without weight decay, a lower learning rate of the backbone, layer-wise decay.

`lr_scaling.py` adapts their rates to the global batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.errors import InputError
from lightning_rcnn.settings import Settings
from lightning_rcnn.settings_checks import Bounds, NonNegative, Positive, PositiveCount

ScalingRule = Literal["linear", "square_root"]


@dataclass(frozen=True)
class ParameterGroupSettings(Settings):
    """Settings of the parameter groups. Rates are factors of the optimizer's rate, and follow its schedule.

    Args:
        norm_weight_decay: weight decay of the scales and biases of norms, and of position embeddings; other parameters
            have the optimizer's.
        backbone_lr_factor: factor of the rate for the layers of the backbone (`Backbone.layers`), such as 0.1 for
            pretrained ones; a feature pyramid on top is not included.
        layer_decay: factor of the rate from layer to layer: the last layer of the backbone has this factor, the one
            before it its square, and so on (BEiT, arXiv 2106.08254, appendix H; timm and detectron2's ViTDet agree).
        lr_rule: rule that adapts all rates to the global batch, the images of an optimizer step (devices x
            `data.batch_size` x `trainer.accumulate_grad_batches`), when a training starts or resumes: "linear", in
            proportion to it (Goyal et al. 2017, arXiv 1706.02677, section 2.1), or "square_root", in proportion to its
            root (Krizhevsky 2014, arXiv 1404.5997, section 5; a common choice with Adam). None takes rates as given.
        reference_batch_size: global batch for which the rates are given.

    Raises:
        InputError: there is a rule, but no `reference_batch_size`.
    """

    norm_weight_decay: NonNegative = 0.0
    backbone_lr_factor: Positive = 1.0
    layer_decay: Annotated[float, Bounds(0, 1, excludes_low=True)] = 1.0
    lr_rule: ScalingRule | None = None
    reference_batch_size: PositiveCount | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr_rule is not None and self.reference_batch_size is None:
            raise InputError(
                f"model.parameter_groups: lr_rule {self.lr_rule}: give reference_batch_size, too: the images of an "
                "optimizer step for which model.optimizer.lr is meant"
            )


def group_parameters(module: nn.Module, settings: ParameterGroupSettings) -> list[dict[str, Any]]:
    """Group the trainable parameters of a detector in torch's form.

    Args:
        module: the detector; its `learning_rate` is the rate that factors multiply.
        settings: factors and weight decay.

    Returns:
        Groups of equal rate and weight decay; a group with the optimizer's own values comes first.

    Raises:
        InputError: a factor is set, and the optimizer has no rate.
    """
    norm_ids = {id(parameter) for parameter in _norm_parameters(module)}
    factors = _lr_factors(module, settings)
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            key = (factors.get(id(parameter), 1.0), id(parameter) in norm_ids)
            groups.setdefault(key, {"params": []})["params"].append(parameter)
    rate = getattr(module, "learning_rate", None)
    for (factor, is_norm), group in groups.items():
        if is_norm:
            group["weight_decay"] = settings.norm_weight_decay
        if factor != 1:
            if rate is None:
                raise InputError("model.parameter_groups: the factors need a learning rate; give model.optimizer.lr")
            group["lr"] = factor * rate
    return [groups[key] for key in sorted(groups, key=lambda key: (key[0] != 1, -key[0], key[1]))]


def _norm_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the scales and biases of norms, and what backbones count to them."""
    for submodule in module.modules():
        if isinstance(submodule, (_BatchNorm, nn.GroupNorm, nn.LayerNorm)):
            yield from submodule.parameters(recurse=False)
        if isinstance(submodule, Backbone):
            yield from submodule.undecayed()


def _lr_factors(module: nn.Module, settings: ParameterGroupSettings) -> dict[int, float]:
    """Return factors of the rate by the id of the parameter; other parameters have the factor 1."""
    factors: dict[int, float] = {}
    for backbone in [submodule for submodule in module.modules() if isinstance(submodule, Backbone)]:
        for depth, layer in enumerate(reversed(backbone.layers()), start=1):
            factor = settings.backbone_lr_factor * settings.layer_decay**depth
            factors |= {id(parameter): factor for parameter in layer.parameters()}
    return factors
