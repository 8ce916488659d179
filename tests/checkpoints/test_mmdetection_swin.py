"""mmdetection's detectors on a Swin Transformer: names, the order of merged patches, settings."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lightning_rcnn.checkpoints.mmdetection import translate
from lightning_rcnn.checkpoints.reading import WeightFile
from lightning_rcnn.detectors.loading import from_translation
from lightning_rcnn.errors import InputError

from .test_mmdetection import head, layer

HERE = Path("epoch_36.pth")
HEADS, DEPTHS = (3, 6, 12, 24), (2, 2, 6, 2)
CONFIG = """
model = dict(
    type='FasterRCNN',
    backbone=dict(type='SwinTransformer', embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
        mlp_ratio=4, qkv_bias=True, qk_scale=None, drop_rate=0., attn_drop_rate=0., drop_path_rate=0.3, patch_norm=True,
        out_indices=(0, 1, 2, 3), with_cp=True, convert_weights=True),
    neck=dict(type='FPN', in_channels=[96, 192, 384, 768], out_channels=16, num_outs=5),
    roi_head=dict(bbox_head=dict(num_classes=3)))
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=0.0001, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={
        'absolute_pos_embed': dict(decay_mult=0.), 'relative_position_bias_table': dict(decay_mult=0.),
        'norm': dict(decay_mult=0.)}))
"""


def swin():
    shapes = layer("backbone.patch_embed.projection", 96, 3, 4, 4) | layer("backbone.patch_embed.norm", 96)
    for stage, (heads, depth) in enumerate(zip(HEADS, DEPTHS, strict=True)):
        width = 96 * 2**stage
        for block in range(depth):
            name = f"backbone.stages.{stage}.blocks.{block}."
            shapes |= layer(f"{name}norm1", width) | layer(f"{name}norm2", width)
            shapes |= {f"{name}attn.w_msa.relative_position_bias_table": (169, heads)}
            shapes |= layer(f"{name}attn.w_msa.qkv", 3 * width, width) | layer(f"{name}attn.w_msa.proj", width, width)
            shapes |= layer(f"{name}ffn.layers.0.0", 4 * width, width) | layer(f"{name}ffn.layers.1", width, 4 * width)
        if stage < 3:
            shapes |= layer(f"backbone.stages.{stage}.downsample.norm", 4 * width)
            shapes |= {f"backbone.stages.{stage}.downsample.reduction.weight": (2 * width, 4 * width)}
        shapes |= layer(f"backbone.norm{stage}", width)
    return shapes


def positions():
    """mmdetection's positions of pairs in a window of 7: those of each patch, and of the other one in reverse."""
    steps = torch.cat([torch.arange(13 * row, 13 * row + 7) for row in range(7)])
    return (steps[:, None] + steps[None]).flip(1)


@pytest.fixture(scope="module")
def state():
    shapes = swin()
    for level in range(4):
        shapes |= layer(f"neck.lateral_convs.{level}.conv", 16, 96 * 2**level, 1, 1)
        shapes |= layer(f"neck.fpn_convs.{level}.conv", 16, 16, 3, 3)
    shapes |= layer("rpn_head.rpn_conv", 16, 16, 3, 3) | layer("rpn_head.rpn_cls", 3, 16, 1, 1)
    shapes |= layer("rpn_head.rpn_reg", 12, 16, 1, 1) | head("roi_head.bbox_head", agnostic=False)
    generator = torch.Generator().manual_seed(0)
    made = {name: 0.02 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    tables = [name for name in made if name.endswith("bias_table")]
    return made | {name.replace("bias_table", "index"): positions() for name in tables}


def test_every_weight_has_its_place(state):
    translation = translate(WeightFile(HERE, state))
    assert (translation.unexpected, translation.left) == ([], [])
    arguments = translation.hyperparameters["backbone"]["init_args"]
    assert (arguments["name"], arguments["window"]) == ("swin_t", 7)
    detector = from_translation(translation)
    block = detector.backbone.body[5][4]
    theirs = "backbone.stages.2.blocks.4."
    assert torch.equal(block.attn.qkv.weight, state[f"{theirs}attn.w_msa.qkv.weight"])
    assert torch.equal(block.mlp[3].weight, state[f"{theirs}ffn.layers.1.weight"])
    assert torch.equal(detector.backbone.norms[3].bias, state["backbone.norm3.bias"])


def test_positions_are_those_of_the_network_here(state):
    """Two formulas for one thing: the offsets of each pair of patches in a window."""
    made = translate(WeightFile(HERE, state)).weights["backbone.body.1.0.attn.relative_position_index"]
    from lightning_rcnn.backbones.swin import SwinFPN

    assert torch.equal(made, SwinFPN("swin_t", channels=8).body[1][0].attn.relative_position_index)


def test_merged_patches_are_those_of_an_unfolded_map(state):
    """mmdetection merges patches by `nn.Unfold`, which lists the four patches of each channel."""
    detector = from_translation(translate(WeightFile(HERE, state)))
    maps = torch.randn(1, 96, 6, 8)
    name = "backbone.stages.0.downsample."
    patches = F.unfold(maps, 2, stride=2).transpose(1, 2)
    normed = F.layer_norm(patches, (384,), state[f"{name}norm.weight"], state[f"{name}norm.bias"])
    expected = normed @ state[f"{name}reduction.weight"].T
    found = detector.backbone.body[2](maps.permute(0, 2, 3, 1)).flatten(1, 2)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


AUTHORS = (
    ("patch_embed.projection", "patch_embed.proj"),
    ("backbone.stages.", "backbone.layers."),
    ("attn.w_msa.", "attn."),
    ("ffn.layers.0.0", "mlp.fc1"),
    ("ffn.layers.1", "mlp.fc2"),
)


def of_authors(state):
    """The weights under the names of Swin-Transformer-Object-Detection."""
    renamed = {}
    for name, value in state.items():
        for theirs, authors in AUTHORS:
            name = name.replace(theirs, authors)
        renamed[name] = value
    return renamed


def test_the_detectors_of_the_authors_have_their_own_names_and_order(state):
    """The authors' merging: the four patches of a window, column by column, each with all of its channels."""
    authors = of_authors(state)
    translation = translate(WeightFile(HERE, authors))
    assert (translation.unexpected, translation.left) == ([], [])
    detector = from_translation(translation)
    theirs = "backbone.layers.2.blocks.4."
    assert torch.equal(detector.backbone.body[5][4].mlp[3].weight, authors[f"{theirs}mlp.fc2.weight"])
    maps = torch.randn(1, 6, 8, 96)
    patches = [maps[:, row::2, column::2] for column in range(2) for row in range(2)]
    name = "backbone.layers.0.downsample."
    normed = F.layer_norm(torch.cat(patches, -1), (384,), authors[f"{name}norm.weight"], authors[f"{name}norm.bias"])
    expected = normed @ authors[f"{name}reduction.weight"].T
    torch.testing.assert_close(detector.backbone.body[2](maps), expected, atol=1e-6, rtol=1e-5)


def test_settings_of_the_authors_become_ours(state):
    config = CONFIG.replace("embed_dims", "embed_dim").replace("with_cp=True", "use_checkpoint=True, ape=False")
    translation = translate(WeightFile(HERE, of_authors(state), {"cfg": config}))
    arguments = translation.hyperparameters["backbone"]["init_args"]
    assert arguments.items() >= {"drop_path": 0.3, "checkpointing": True}.items()
    assert not [note for note in translation.notes if "no counterpart" in note]


def test_without_a_configuration_it_is_no_resnet(state):
    notes = translate(WeightFile(HERE, state)).notes
    assert [note for note in notes if "taken for a model of a Swin Transformer in RGB" in note]


def test_settings_become_ours(state):
    translation = translate(WeightFile(HERE, state, {"cfg": CONFIG, "CLASSES": ("a", "b", "c")}))
    arguments = translation.hyperparameters["backbone"]["init_args"]
    assert arguments.items() >= {"drop_path": 0.3, "frozen_stages": 0, "checkpointing": True}.items()
    assert translation.hyperparameters["parameter_groups"] == {"norm_weight_decay": 0.0}
    assert not [note for note in translation.notes if "no counterpart" in note]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("attn_drop_rate=0.", "attn_drop_rate=0.1", "model.backbone.attn_drop_rate"),
        ("num_outs=5", "num_outs=6", "model.neck.num_outs"),
        ("table': dict(decay_mult=0.)", "table': dict(decay_mult=0.5)", "relative_position_bias_table.decay_mult 0.5"),
        (" 'relative_position_bias_table': dict(decay_mult=0.),", "", "relative_position_bias_table.decay_mult 1.0"),
    ],
)
def test_what_has_no_counterpart_is_named(state, old, new, named):
    assert CONFIG.count(old) == 1
    translation = translate(WeightFile(HERE, state, {"cfg": CONFIG.replace(old, new)}))
    assert any("no counterpart" in note and named in note for note in translation.notes)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("depths=[2, 2, 6, 2]", "depths=[2, 2, 18, 2]", r"depths \[2, 2, 18, 2\], but .* is a swin_t"),
        ("embed_dims=96", "embed_dims=128", "embed_dims 128, but .* is a swin_t"),
        ("num_heads=[3, 6, 12, 24]", "num_heads=[4, 8, 16, 32]", r"num_heads \[4, 8, 16, 32\], but .* is a swin_t"),
        ("window_size=7", "window_size=12", "window_size 12, but .* is a swin_t with windows of 7; give the config"),
    ],
)
def test_a_configuration_of_another_swin_is_refused(state, old, new, problem):
    assert CONFIG.count(old) == 1
    with pytest.raises(InputError, match=problem):
        translate(WeightFile(HERE, state, {"cfg": CONFIG.replace(old, new)}))


def test_another_network_is_one_line(state):
    fewer = {name: value for name, value in state.items() if ".stages.2.blocks.5." not in name}
    with pytest.raises(InputError, match="5 blocks in its third stage, which is none of swin_t, swin_s"):
        translate(WeightFile(HERE, fewer))
