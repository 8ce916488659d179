"""ViTDet against loops over positions, timm's vision transformer and hand-counted shapes."""

import pytest
import timm
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from lightning_rcnn.backbones.attention import Attention, join_windows, split_windows
from lightning_rcnn.backbones.norms import norm_layer
from lightning_rcnn.backbones.vit import SIZES, VisionTransformer
from lightning_rcnn.backbones.vitdet import ViTDet
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings, group_parameters
from lightning_rcnn.errors import InputError


def small(**options):
    return ViTDet(**({"name": "tiny", "channels": 8, "image_size": 64, "pretrained_size": 64, "window": 3} | options))


@pytest.mark.parametrize(("height", "width"), [(4, 4), (2, 3), (5, 6)])  # as many distances as there are, fewer, more
def test_attention_is_that_of_a_loop_over_pairs(height, width):
    torch.manual_seed(0)
    attention = Attention(channels=12, num_heads=2, size=4).double()
    nn.init.normal_(attention.rel_pos_h)
    nn.init.normal_(attention.rel_pos_w)
    maps = torch.randn(2, height, width, 12, dtype=torch.float64)
    query, key, value = (part.unflatten(-1, (2, 6)) for part in attention.qkv(maps).split(12, dim=-1))

    def vectors(table, side):
        """By distance + side - 1, at equal spacing over the table."""
        places = (torch.arange(2 * side - 1, dtype=torch.float64) + 0.5) * len(table) / (2 * side - 1) - 0.5
        places = places.clamp(0, len(table) - 1)
        low = places.floor().long()
        share = (places - low)[:, None]
        return table[low] * (1 - share) + table[(low + 1).clamp(max=len(table) - 1)] * share

    rows, columns = vectors(attention.rel_pos_h, height), vectors(attention.rel_pos_w, width)
    expected = torch.empty(2, height, width, 2, 6, dtype=torch.float64)
    places = [(y, x) for y in range(height) for x in range(width)]
    for image in range(2):
        for head in range(2):
            for y, x in places:
                own = query[image, y, x, head]
                scores = torch.stack(
                    [
                        own @ key[image, v, u, head] / 6**0.5
                        + own @ rows[y - v + height - 1]
                        + own @ columns[x - u + width - 1]
                        for v, u in places
                    ]
                ).softmax(0)
                expected[image, y, x, head] = sum(
                    score * value[image, v, u, head] for score, (v, u) in zip(scores, places, strict=True)
                )
    torch.testing.assert_close(attention(maps), attention.proj(expected.flatten(3)))


def test_windows_are_cut_from_the_top_left_and_joined_again():
    maps = torch.randn(2, 5, 7, 4)
    windows = split_windows(maps, 3)
    assert windows.shape == (2 * 2 * 3, 3, 3, 4)
    assert torch.equal(windows[1], maps[0, :3, 3:6])
    assert torch.equal(windows[11, :2, :1], maps[1, 3:, 6:])
    assert not windows[11, 2:].any()
    assert not windows[11, :, 1:].any()
    assert torch.equal(join_windows(windows, 5, 7), maps)


def test_with_one_window_it_is_timms_transformer_without_class_token():
    torch.manual_seed(0)
    theirs = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, class_token=False, global_pool="avg", num_classes=0
    ).eval()
    ours = VisionTransformer("tiny", 4, 64, 64, drop_path=0.0, checkpointing=False, in_channels=3).eval()
    weights = {key: value for key, value in theirs.state_dict().items() if key in ours.state_dict()}
    positions = torch.cat([torch.zeros(1, 1, 192), weights["pos_embed"]], dim=1)  # the class token's comes first
    lacking = ours.load_state_dict(weights | {"pos_embed": positions}, strict=False)
    assert {key.rpartition(".")[2] for key in lacking.missing_keys} == {"rel_pos_h", "rel_pos_w"}
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.forward_intermediates(images, indices=[11], norm=False, intermediates_only=True)[0]
        torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-4)


def test_sizes_and_global_blocks_are_those_of_the_paper():
    with torch.device("meta"):
        networks = {name: VisionTransformer(name, 14, 1024, 224, 0.1, False, 3) for name in ("base", "large", "huge")}
    for name, blocks in {"base": (2, 5, 8, 11), "large": (5, 11, 17, 23), "huge": (7, 15, 23, 31)}.items():
        network = networks[name]
        assert tuple(number for number, block in enumerate(network.blocks) if not block.window) == blocks
        assert network.blocks[blocks[0]].attn.rel_pos_h.shape == (127, SIZES[name].channels // SIZES[name].num_heads)
        assert network.blocks[0].attn.rel_pos_w.shape[0] == 27
    # 85.8 M of the classifier without its last layer and class token, and the relative positions.
    positions = 2 * 64 * (8 * 27 + 4 * 127)
    assert sum(weight.numel() for weight in networks["base"].parameters()) == 85_798_656 - 2 * 768 - 768 + positions


def test_maps_positions_and_norms_of_any_image():
    backbone = small().eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 96, 70))
    assert [tuple(features.shape[1:]) for features in maps] == [
        (8, 24, 24), (8, 12, 12), (8, 6, 6), (8, 3, 3), (8, 2, 2)
    ]  # fmt: skip
    features = torch.randn(2, 5, 3, 4)
    norm = norm_layer("layer_norm", 1e-6)(5)
    centered = features - features.mean(1, keepdim=True)
    expected = centered / (centered.square().mean(1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norm(features), expected)


def test_gradients_are_those_without_checkpointing_also_with_stochastic_depth():
    torch.manual_seed(0)
    plain, recomputing = small(drop_path=0.5), small(drop_path=0.5, checkpointing=True)
    recomputing.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 96)
    for backbone in (plain, recomputing):
        torch.manual_seed(1)
        sum(features.square().mean() for features in backbone.train()(images)).backward()
    for (key, expected), found in zip(plain.named_parameters(), recomputing.parameters(), strict=True):
        assert torch.equal(found.grad, expected.grad), key


def test_checkpointing_keeps_what_blocks_and_pyramid_get_and_no_more():
    """Counted by hand: the images, a map before each block and after the last, P5, and which pixels P6 takes of it."""

    def kept(backbone):
        weights = {weight.untyped_storage().data_ptr() for weight in backbone.parameters()}
        tensors = []
        with saved_tensors_hooks(lambda tensor: tensors.append(tensor) or tensor, lambda tensor: tensor):
            backbone(torch.zeros(2, 3, 64, 96))
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(size for pointer, size in storages.items() if pointer not in weights)

    images, between, p5, p6 = (2 * 3 * 64 * 96, 2 * 192 * 4 * 6, 2 * 8 * 2 * 3, 2 * 8 * 1 * 2)
    expected = 4 * (images + 13 * between + p5) + 8 * p6
    assert kept(small(checkpointing=True).train()) == expected < 0.1 * kept(small().train())


def test_a_detector_has_rates_by_layer_and_no_decay_of_positions(tmp_path):
    detector = FasterRCNN(["a"], backbone=small(), box={"head": {"width": 8}})
    groups = group_parameters(detector, ParameterGroupSettings(layer_decay=0.7))
    group_of = {id(weight): group for group in groups for weight in group["params"]}
    net = detector.backbone.net
    rate = detector.learning_rate
    assert group_of[id(net.blocks[11].mlp.fc1.weight)]["lr"] == pytest.approx(0.7 * rate)
    assert group_of[id(net.blocks[0].mlp.fc1.weight)]["lr"] == pytest.approx(0.7**12 * rate)
    assert group_of[id(net.pos_embed)] == group_of[id(net.pos_embed)] | {
        "lr": pytest.approx(0.7**13 * rate), "weight_decay": 0.0
    }  # fmt: skip
    assert "weight_decay" not in group_of[id(net.patch_embed.proj.weight)]
    assert "lr" not in group_of[id(detector.backbone.simfp_5[1].weight)]
    rebuilt = FasterRCNN(**detector.init_args)
    rebuilt.load_state_dict(detector.state_dict())


def test_weights_of_a_classifier_and_of_a_detector_are_read(tmp_path):
    pretrained = timm.create_model("vit_tiny_patch16_224", img_size=64)
    torch.save({"model": pretrained.state_dict()}, tmp_path / "mae.pth")
    net = small(weights=str(tmp_path / "mae.pth")).net
    assert torch.equal(net.pos_embed, pretrained.pos_embed)
    assert torch.equal(net.blocks[3].attn.qkv.weight, pretrained.blocks[3].attn.qkv.weight)
    assert not net.blocks[3].attn.rel_pos_h.any()
    gray = small(weights=str(tmp_path / "mae.pth"), in_channels=1).net.patch_embed.proj.weight
    torch.testing.assert_close(gray, pretrained.patch_embed.proj.weight.sum(1, keepdim=True))
    nn.init.normal_(net.blocks[3].attn.rel_pos_h)
    torch.save({f"backbone.net.{key}": value for key, value in net.state_dict().items()}, tmp_path / "detector.pth")
    again = small(weights=str(tmp_path / "detector.pth")).net
    assert torch.equal(again.blocks[3].attn.rel_pos_h, net.blocks[3].attn.rel_pos_h)
    with pytest.raises(InputError, match="not weights of a tiny vision transformer with 196 positions: 0 keys are mis"):
        small(weights=str(tmp_path / "mae.pth"), pretrained_size=224)
    with pytest.raises(InputError, match=r"ViTDet\.image_size: 100: give a multiple of 16, the side of a patch"):
        small(image_size=100)
