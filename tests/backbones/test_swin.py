"""SwinFPN against timm's Swin Transformer with the same weights, and what it promises beside features."""

import pytest
import torch
from torchvision.models.swin_transformer import ShiftedWindowAttention

from lightning_rcnn.backbones.shifted_attention import AnySizeWindowAttention
from lightning_rcnn.backbones.swin import SwinFPN
from lightning_rcnn.errors import InputError

pytest.importorskip("timm")


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return SwinFPN("swin_t", channels=16).eval()


def stages_of(backbone, images):
    """Maps of the four stages before their norms, [N, H, W, C]."""
    maps, hidden = [], images
    for number, layer in enumerate(backbone.body):
        hidden = layer(hidden)
        if number % 2:
            maps.append(hidden)
    return maps


def timms_name(name):
    """timm's name of a weight of torchvision's: it merges patches at the start of a stage."""
    number, _, rest = name.partition(".")
    stage, is_merging = divmod(int(number) + 1, 2)
    if number == "0":
        return f"patch_embed.{'proj' if rest.startswith('0.') else 'norm'}.{rest[2:]}"
    if is_merging:
        return f"layers.{stage}.downsample.{rest}"
    return f"layers.{stage - 1}.blocks.{rest.replace('mlp.0.', 'mlp.fc1.').replace('mlp.3.', 'mlp.fc2.')}"


def test_stages_are_timms_on_whole_windows():
    import timm

    torch.manual_seed(0)
    backbone = SwinFPN("swin_t", window=4, channels=16).eval()
    theirs = timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=0, window_size=4, img_size=(256, 384), always_partition=True
    ).eval()
    weights = {timms_name(name): value for name, value in backbone.body.state_dict().items()}
    weights = {name: value for name, value in weights.items() if not name.endswith("relative_position_index")}
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["norm.weight", "norm.bias"], [])
    images = torch.randn(1, 3, 256, 384)  # of more than one window in every stage
    with torch.no_grad():
        expected = theirs.forward_intermediates(images, norm=False, intermediates_only=True)
        for found, wanted in zip(stages_of(backbone, images), expected, strict=True):
            wanted = wanted.permute(0, 2, 3, 1)
            torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("size", [(14, 21), (10, 16), (30, 8)])
def test_attention_is_torchvisions(size, shift):
    """Of maps of more than one window in each direction, whole ones or not."""
    theirs = ShiftedWindowAttention(12, [7, 7], [shift, shift], 3)
    ours = AnySizeWindowAttention(12, [7, 7], [shift, shift], 3)
    ours.load_state_dict(theirs.state_dict())
    maps = torch.randn(2, *size, 12)
    torch.testing.assert_close(ours(maps), theirs(maps), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [(64, 96), (50, 71), (3, 65)], ids=["whole", "odd", "less than a patch"])
def test_maps_are_of_all_strides(backbone, size):
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, *size))
    sizes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in backbone.strides]
    assert [tuple(one.shape[-2:]) for one in maps] == sizes
    assert [one.shape[:2] for one in maps] == [(2, 16)] * 5


def test_checkpointing_keeps_the_gradients():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        backbone = SwinFPN("swin_t", drop_path=0.5, channels=8, checkpointing=checkpointing).train()
        torch.manual_seed(1)
        sum(one.square().sum() for one in backbone(torch.ones(1, 3, 64, 64))).backward()
        gradients.append([weight.grad for weight in backbone.parameters()])
    for kept, computed_again in zip(*gradients, strict=True):
        assert torch.equal(kept, computed_again)


def test_frozen_stages_and_layers():
    backbone = SwinFPN("swin_t", channels=8, frozen_stages=3).train()
    frozen = {name.rpartition(".")[0] for name, weight in backbone.named_parameters() if not weight.requires_grad}
    assert {name[:6] for name in frozen} == {"body.0", "body.1", "body.2", "body.3", "body.4", "norms."}
    assert not backbone.body[1].training
    assert backbone.body[5].training
    in_layers = [weight for layer in backbone.layers() for weight in layer.parameters()]
    assert len(in_layers) == len(set(in_layers)) == len(list(backbone.body.parameters()))
    assert len(backbone.layers()) == 1 + 2 + 2 + 6 + 2
    assert len(backbone.undecayed()) == 12
    with pytest.raises(InputError, match=r"frozen_stages 6: give 0 \(none\) to 5 \(all\)"):
        SwinFPN(frozen_stages=6)


def test_weights_of_the_network_fill_it(tmp_path):
    source = SwinFPN("swin_t", channels=8)
    state = {f"features.{name}": value for name, value in source.body.state_dict().items()}
    torch.save(state | {"norm.weight": torch.ones(768), "head.weight": torch.ones(3, 768)}, tmp_path / "swin.pth")
    for in_channels in (3, 5):
        backbone = SwinFPN("swin_t", str(tmp_path / "swin.pth"), channels=8, in_channels=in_channels)
        assert torch.equal(backbone.body[5][3].mlp[0].weight, source.body[5][3].mlp[0].weight)
        assert backbone.body[0][0].weight.shape == (96, in_channels, 4, 4)
    with pytest.raises(InputError, match="not weights of swin_s"):
        SwinFPN("swin_s", str(tmp_path / "swin.pth"))
