"""detectron2's detectors on RegNets and plain vision transformers: names, shapes, and a forward pass written anew."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_rcnn.backbones.norms import ChannelNorm
from lightning_rcnn.backbones.regnet import SIZES
from lightning_rcnn.backbones.vit import SIZES as VIT_SIZES
from lightning_rcnn.checkpoints import regnet_names, vitdet_names
from lightning_rcnn.checkpoints.detectron2 import is_detectron2, translate
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.detectors.loading import from_translation
from lightning_rcnn.errors import InputError

from .test_detectron2 import cells, layer, shapes_of
from .test_detectron2_family import CLASSES, drawn, norms, with_norms, without

HERE = Path("model_final.pkl")
X_4GF = ((80, 240, 560, 1360), (2, 5, 14, 2), 40, False)
Y_4GF = ((128, 192, 512, 1088), (2, 6, 12, 2), 64, True)
"""Widths, depths, channels of a group, squeeze and excitation: pycls's RegNetX-4.0GF and RegNetY-4.0GF."""


def convolution(name, after, before, size=1, groups=1):
    return {f"{name}.weight": (after, before // groups, size, size)}


def norm(name, channels):
    items = {f"{name}.{item}": (channels,) for item in ("weight", "bias", "running_mean", "running_var")}
    return items | {f"{name}.num_batches_tracked": ()}


def regnet_shapes(widths, depths, group, squeezed):
    body = "backbone.bottom_up."
    shapes = convolution(f"{body}stem.conv", 32, 3, 3) | norm(f"{body}stem.bn", 32)
    before = 32
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        for number in range(1, depth + 1):
            block = f"{body}s{stage}.b{number}"
            if number == 1:
                shapes |= convolution(f"{block}.proj", width, before) | norm(f"{block}.bn", width)
            shapes |= convolution(f"{block}.f.a", width, before) | norm(f"{block}.f.a_bn", width)
            shapes |= convolution(f"{block}.f.b", width, width, 3, width // group) | norm(f"{block}.f.b_bn", width)
            if squeezed:
                shapes |= layer(f"{block}.f.se.f_ex.0", round(before / 4), width, 1, 1)
                shapes |= layer(f"{block}.f.se.f_ex.2", width, round(before / 4), 1, 1)
            shapes |= convolution(f"{block}.f.c", width, width) | norm(f"{block}.f.c_bn", width)
            before = width
    return shapes


def jittered(widths, depths, group, squeezed):
    """Shapes of a baseline with large-scale jitter on a RegNet."""
    shapes = without(with_norms("batch_norm", is_jittered=True), "backbone.bottom_up", "backbone.fpn_lateral")
    for level, width in enumerate(widths, 2):
        shapes |= convolution(f"backbone.fpn_lateral{level}", 256, width)
        shapes |= norms(f"backbone.fpn_lateral{level}", 256, "batch_norm")
    return shapes | regnet_shapes(widths, depths, group, squeezed)


def state_of(shapes):
    """Return numbers with which a deep network neither vanishes nor overflows."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator) / max(1, torch.tensor(shape[1:]).prod()) ** 0.5
        if name.endswith(("running_var", "bn.weight", "norm.weight")):
            value = 0.5 + torch.rand(shape, generator=generator)
        state[name] = torch.tensor(7) if name.endswith("num_batches_tracked") else value
    return state | cells([[32], [64], [128], [256], [512]])


def forward_of_detectron2(state, images, depths, group):
    """Compute the maps of the four stages from weights by detectron2's names."""
    body = "backbone.bottom_up."

    def normed(name, values):
        items = (state[f"{body}{name}.{item}"] for item in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(values, *items, eps=1e-5)

    def convolved(name, values, **options):
        return F.conv2d(values, state[f"{body}{name}.weight"], state.get(f"{body}{name}.bias"), **options)

    hidden = normed("stem.bn", convolved("stem.conv", images, stride=2, padding=1)).relu()
    maps = []
    for stage, depth in enumerate(depths, 1):
        for number in range(1, depth + 1):
            block, stride = f"s{stage}.b{number}", 2 if number == 1 else 1
            inner = normed(f"{block}.f.a_bn", convolved(f"{block}.f.a", hidden)).relu()
            groups = inner.shape[1] // group
            inner = convolved(f"{block}.f.b", inner, stride=stride, padding=1, groups=groups)
            inner = normed(f"{block}.f.b_bn", inner).relu()
            if f"{body}{block}.f.se.f_ex.0.weight" in state:
                share = convolved(f"{block}.f.se.f_ex.0", inner.mean(dim=(2, 3), keepdim=True)).relu()
                inner = inner * convolved(f"{block}.f.se.f_ex.2", share).sigmoid()
            inner = normed(f"{block}.f.c_bn", convolved(f"{block}.f.c", inner))
            if number == 1:
                hidden = normed(f"{block}.bn", convolved(f"{block}.proj", hidden, stride=2))
            hidden = (hidden + inner).relu()
        maps.append(hidden)
    return maps


@pytest.mark.parametrize(("name", "sizes"), [("regnet_x_4gf", X_4GF), ("regnet_y_4gf", Y_4GF)])
def test_a_regnet_computes_what_detectron2s_weights_say(name, sizes):
    state = state_of(jittered(*sizes))
    translation = translate(WeightFile(HERE, state))
    backbone = translation.hyperparameters["backbone"]
    assert backbone["class_path"] == "lightning_rcnn.backbones.regnet.RegNetFPN"
    wanted = {"name": name, "norm": "batch_norm", "fpn_norm": "batch_norm", "frozen_stages": 0, "norm_epsilon": 1e-5}
    assert backbone["init_args"] == wanted | {"channels": 256}
    assert translation.hyperparameters["preprocessing"]["pixel_std"] == [57.375, 57.12, 58.395]
    detector = from_translation(translation).eval()
    assert detector.rpn.settings.num_layers == 2
    images = torch.randn(1, 3, 64, 64)
    hidden = detector.backbone.body.stem(images)
    with torch.no_grad():
        for stage, expected in zip(
            detector.backbone.body.trunk_output, forward_of_detectron2(state, images, *sizes[1:3]), strict=True
        ):
            hidden = stage(hidden)
            torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_sizes_of_weights_are_those_of_our_networks():
    for (depths, widths, group, is_squeezed), name in regnet_names._NETWORKS.items():
        assert SIZES[name] == (depths, widths, group, 0.25 if is_squeezed else None)
    assert {(size.channels, size.depth): name for name, size in VIT_SIZES.items()} == {
        sizes: name for sizes, (name, _) in vitdet_names._NETWORKS.items()
    }


def test_a_regnet_of_other_sizes_is_refused():
    shapes = jittered((80, 240, 560, 1360), (2, 5, 13, 2), 40, False)
    body = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    with pytest.raises(InputError, match=r"a RegNet of \(2, 5, 13, 2\) blocks .* none of regnet_x_4gf"):
        translate(WeightFile(HERE, body))


def vitdet_shapes(heads=with_norms):
    """Shapes of a Mask R-CNN on a tiny transformer: windows of 2 patches, images of 64 pixels, pretrained with 32."""
    shapes = without(heads("group_norm", is_jittered=True), "backbone.")
    net = "backbone.net."
    shapes |= layer(f"{net}patch_embed.proj", 192, 3, 16, 16) | {f"{net}pos_embed": (1, 5, 192)}
    for number in range(12):
        block = f"{net}blocks.{number}."
        side = 4 if number in (2, 5, 8, 11) else 2
        shapes |= {f"{block}attn.rel_pos_{axis}": (2 * side - 1, 64) for axis in "hw"}
        shapes |= layer(f"{block}attn.qkv", 576, 192) | layer(f"{block}attn.proj", 192, 192)
        shapes |= layer(f"{block}mlp.fc1", 768, 192) | layer(f"{block}mlp.fc2", 192, 768)
        for name in ("norm1", "norm2"):
            shapes |= {f"{block}{name}.weight": (192,), f"{block}{name}.bias": (192,)}
    up = {"2": 96, "3": 96}
    for level in "2345":
        at = f"backbone.simfp_{level}."
        if level in up:
            shapes |= {f"{at}0.weight": (192, 96, 2, 2), f"{at}0.bias": (96,)}
        if level == "2":
            shapes |= {f"{at}1.weight": (96,), f"{at}1.bias": (96,)}
            shapes |= {f"{at}3.weight": (96, 48, 2, 2), f"{at}3.bias": (48,)}
        first, before = {"2": (4, 48), "3": (1, 96), "4": (0, 192), "5": (1, 192)}[level]
        for number, inputs, size in ((first, before, 1), (first + 1, 256, 3)):
            shapes |= convolution(f"{at}{number}", 256, inputs, size) | norms(f"{at}{number}", 256, "group_norm")
    return shapes


def test_a_plain_transformer_with_its_heads():
    state = drawn(vitdet_shapes()) | {
        "pixel_mean": torch.tensor([123.675, 116.28, 103.53]),
        "pixel_std": torch.tensor([58.395, 57.12, 57.375]),
    }
    assert is_detectron2(state)
    translation = translate(WeightFile(HERE, state))
    wanted = {"name": "tiny", "window": 2, "image_size": 64, "pretrained_size": 32, "drop_path": 0.1, "channels": 256}
    assert translation.hyperparameters["backbone"]["init_args"] == wanted
    preprocessing = translation.hyperparameters["preprocessing"]
    sizes = {"min_size": 64, "max_size": 64, "size_divisor": 64, "resize": "pillow", "channel_order": "rgb"}
    assert preprocessing.items() >= sizes.items()
    assert preprocessing["pixel_mean"] == [123.675, 116.28, 103.53]
    detector = from_translation(translation)
    ours = detector.state_dict()
    for theirs, name in translation.names.items():
        value = state[theirs].roll(1, dims=0) if "cls_score" in theirs else state[theirs]
        assert torch.equal(ours[name], value), theirs
    assert set(ours) == set(translation.names.values())
    heads = [module for head in (detector.box, detector.mask) for module in head.modules()]
    found = [module for module in heads if isinstance(module, nn.LayerNorm | nn.GroupNorm)]
    assert [(type(module), module.eps) for module in found] == [(ChannelNorm, 1e-6)] * 8


def test_another_transformer_is_refused_by_name():
    swin = {"backbone.bottom_up.patch_embed.proj.weight": torch.zeros(96, 3, 4, 4)}
    others = without(shapes_of("R50", "fpn", False, CLASSES), "backbone.bottom")
    swin |= {name: torch.zeros(1).expand(shape) for name, shape in others.items()}
    assert is_detectron2(swin)
    with pytest.raises(InputError, match=r"a Swin Transformer or an MViT of detectron2, .* not read; take"):
        translate(WeightFile(HERE, swin))
    deeper = drawn(vitdet_shapes()) | {"backbone.net.blocks.12.attn.rel_pos_h": torch.zeros(3, 64)}
    with pytest.raises(InputError, match="of 192 channels with relative positions in 13 blocks, which is none of tiny"):
        translate(WeightFile(HERE, deeper))
