"""Networks of timm (PyTorch Image Models, Wightman) with a feature pyramid."""

from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lightning_rcnn.backbones.base import maps_on_meta
from lightning_rcnn.backbones.norms import NormName, norm_layer
from lightning_rcnn.backbones.pyramid import PyramidBackbone
from lightning_rcnn.backbones.weights import fill_from
from lightning_rcnn.checkpoints.reading import read_weights
from lightning_rcnn.checkpoints.sources import local_file
from lightning_rcnn.errors import InputError, require_extra
from lightning_rcnn.settings_checks import Fraction, PositiveCount
from lightning_rcnn.suggestions import did_you_mean

HUB = "hub"
"""The value of `weights` for those that timm names after the network."""
_FINEST = 4
"""Stride of the finest map that a pyramid is built on (FPN section 3: its memory is too large at stride 2)."""
_ANY_SIZE = ("swin_transformer", "swin_transformer_v2")
"""timm's modules of networks that take images of any size if they are asked to."""


class TimmFPN(PyramidBackbone):
    """A network of timm with a feature pyramid on its maps of strides 4, 8, 16 and 32.

    The level after the last one subsamples it and serves the RPN only, as in `ResNetFPN`. Keys of the state dict are
    timm's (`network.*`) and torchvision's (`fpn.inner_blocks.*`, `fpn.layer_blocks.*`).

    Args:
        name: timm's name of the network ("convnext_tiny", "swin_tiny_patch4_window7_224", "efficientnet_b0"), with the
            tag of its weights if these matter ("convnext_tiny.in12k_ft_in1k"); `timm.list_models()` lists them.
        weights: "hub" for the weights of that name from Hugging Face's hub, a file or URL of a state dict with timm's
            names, or None: from scratch.
        norm: "own", or "frozen_batch_norm", which keeps the statistics, scales and biases of the weights: right for
            networks with batch norms and few images a step.
        drop_path: rate of stochastic depth (arXiv 1603.09382) in the last block; it grows linearly from 0.
        channels: channels of every level.
        fpn_norm: norm after the pyramid's convolutions; None for a bias instead.
        checkpointing: whether the network computes activations again in backward instead of keeping them.
        in_channels: channels of the images. Weights for RGB are adapted by the same rule of timm's as in `stem.py`.

    Raises:
        InputError: timm is not installed, has no such network or weights; the network has no maps for a pyramid, takes
            images of one size only, or has no drop path or checkpointing where they are wanted.
    """

    conventions = ("norm",)

    def __init__(
        self,
        name: str = "convnext_tiny",
        weights: str | None = None,
        norm: Literal["own", "frozen_batch_norm"] = "own",
        drop_path: Fraction = 0.0,
        channels: PositiveCount = 256,
        fpn_norm: NormName | None = None,
        checkpointing: bool = False,
        in_channels: PositiveCount = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        network = _create(name, weights == HUB, drop_path, in_channels)
        self._indices, self.strides, inputs = _pyramid_of(network, name)
        network.prune_intermediate_layers(self._indices, prune_norm=True, prune_head=True)  # type: ignore[operator]
        if weights not in (None, HUB):
            fill_from(network, name, weights, read_weights(local_file(weights, "backbone weights")).weights)
        if norm == "frozen_batch_norm":
            network = _with_frozen_norms(network)
        if checkpointing:
            _recompute(network, name)
        self.network = network
        self.sharded_layers = tuple(_blocks_of(network, "network"))
        level_norm = norm_layer(fpn_norm, 1e-5) if fpn_norm else None
        self.fpn = FeaturePyramidNetwork(inputs, channels, LastLevelMaxPool(), level_norm)
        self.out_channels = channels
        _require_any_size(self, name)

    def layers(self) -> list[nn.Module]:
        """Return the layers as timm groups them for layer-wise learning rates."""
        from timm.models import group_parameters

        groups = group_parameters(self.network, self.network.group_matcher(coarse=False))  # type: ignore[operator]
        weights = dict(self.network.named_parameters())
        return [nn.ParameterList([weights[name] for name in groups[number]]) for number in sorted(groups)]

    def undecayed(self) -> list[nn.Parameter]:
        """Return what timm decays by no weight decay, such as position embeddings."""
        names: set[str] = getattr(self.network, "no_weight_decay", set)()
        return [weight for name, weight in self.network.named_parameters() if name in names]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute maps [N, C, H / stride, W / stride], one for each of `strides`."""
        maps = self.network.forward_intermediates(  # type: ignore[operator]
            images, indices=self._indices, norm=False, output_fmt="NCHW", intermediates_only=True
        )
        return list(self.fpn({str(level): features for level, features in enumerate(maps)}).values())


def _create(name: str, with_weights: bool, drop_path: float, in_channels: int) -> nn.Module:
    require_extra("timm", "timm", "TimmFPN")
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise InputError(f"TimmFPN: timm has no network {name}{did_you_mean(architecture, timm.list_models())}")
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    if timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2] in _ANY_SIZE:
        options["strict_img_size"] = False
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=with_weights, num_classes=0, in_chans=in_channels, **options
        )
    except TypeError as error:
        if drop_path and "drop_path_rate" in str(error):
            raise InputError(f"TimmFPN: {name} has no drop path; leave out drop_path") from error
        raise
    except (RuntimeError, OSError, ValueError) as error:
        tags = timm.list_pretrained(f"{architecture}.*")
        known = f"; its weights are {', '.join(tags)}" if tags and tag else ""
        reason = " ".join(str(error).split())
        raise InputError(f"TimmFPN: {name} cannot be built by timm ({reason}){known}") from error
    return network


def _pyramid_of(network: nn.Module, name: str) -> tuple[list[int], tuple[int, ...], list[int]]:
    """Return the numbers of the maps for a pyramid, the strides of its levels, and the channels of the maps."""
    described = list(getattr(network, "feature_info", ()))
    by_stride = {entry["reduction"]: (number, entry["num_chs"]) for number, entry in enumerate(described)}
    strides = sorted(stride for stride in by_stride if stride >= _FINEST)
    doubles = [2 * stride for stride in strides[:-1]] == strides[1:]
    if len(strides) < 2 or not doubles or not hasattr(network, "forward_intermediates"):
        found = f"maps of stride {', '.join(map(str, by_stride))} only" if by_stride else "no maps"
        raise InputError(
            f"TimmFPN: {name} has {found}, and a pyramid needs strides that double, such as 4, 8, 16 and 32; take a "
            "network with stages, such as convnext_tiny, or ViTDet for a plain vision transformer"
        )
    chosen = [by_stride[stride] for stride in strides]
    return [number for number, _ in chosen], (*strides, 2 * strides[-1]), [channels for _, channels in chosen]


def _with_frozen_norms(network: nn.Module) -> nn.Module:
    from timm.layers import freeze_batch_norm_2d

    frozen: nn.Module = freeze_batch_norm_2d(network)
    return frozen


def _recompute(network: nn.Module, name: str) -> None:
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise InputError(
            f"TimmFPN: {name} has batch norms, which would count every batch twice with checkpointing; give norm "
            "frozen_batch_norm, or leave out checkpointing"
        )
    try:
        network.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError) as error:
        raise InputError(f"TimmFPN: {name} has no activation checkpointing; leave out checkpointing") from error


def _blocks_of(network: nn.Module, name: str) -> Iterator[str]:
    """Yield the names of the blocks, which timm's networks keep in lists and sequences called `blocks`."""
    for key, child in network.named_children():
        inner = f"{name}.{key}"
        if key == "blocks" or (key.isdecimal() and isinstance(child, nn.Sequential) and ".blocks" in name):
            yield from (
                f"{inner}.{number}" for number, block in child.named_children() if not isinstance(block, nn.Sequential)
            )
        yield from _blocks_of(child, inner)


def _require_any_size(backbone: TimmFPN, name: str) -> None:
    try:
        maps_on_meta(backbone, 6 * 32, 10 * 32)
    except (AssertionError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"TimmFPN: {name} does not take images of any size ({reason}); take another network, such as convnext_tiny"
        ) from error
