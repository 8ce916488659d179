import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.backbones.fpn import ResNetFPN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part
from lightning_rcnn.plain_data import merge
from lightning_rcnn.structures import Polygons

LOSSES = ["loss_objectness", "loss_rpn_box", "loss_classifier", "loss_box", "loss_mask"]
C4 = {
    "backbone": part(ResNetC4, name="resnet18"),
    "rpn": {"anchors": {"sizes": [16, 32, 64]}},
    "box": {"pooled_size": 4},
}
GROUP_NORM = {"init_args": {"norm": "group_norm"}}
VARIANTS = {
    "fpn": {},
    "c4": C4,
    "fpn with RoIPool": {"pooler": {"operator": "pool"}},
    "c4 with RoIPool": {**C4, "pooler": {"operator": "pool"}},
}
BATCHES = {
    "ordinary": ([(10, 10, 40, 50, 1), (30, 5, 90, 60, 2)], [(0, 0, 20, 20, 3)]),
    "no objects": ([], []),
    "only crowds": ([(0, 0, 96, 64, 1, "crowd")], [(0, 0, 96, 64, 2, "crowd")]),
}


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_are_finite_and_every_parameter_takes_part(make_mask_rcnn, make_batch, with_masks, kind, variant):
    detector = make_mask_rcnn(**VARIANTS[variant])
    losses = detector(with_masks(make_batch(*BATCHES[kind])))
    assert list(losses) == LOSSES
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert (losses["loss_mask"] > 0) == (kind == "ordinary")
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_step_reads_no_values(make_mask_rcnn, make_batch, with_masks, variant):
    batch = with_masks(make_batch(*BATCHES["ordinary"]))
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        detector = make_mask_rcnn(**VARIANTS[variant])
        fake = batch.map_tensors(mode.from_tensor)
        losses = detector.losses(fake.inputs, fake.targets)
        sum(losses.values()).backward()
        norm = torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
    assert norm.shape == ()
    assert [tuple(loss.shape) for loss in losses.values()] == [()] * 5


@pytest.mark.parametrize("variant", VARIANTS)
def test_skipping_empty_slots_changes_nothing(make_mask_rcnn, make_batch, with_masks, monkeypatch, variant):
    settings = merge(VARIANTS[variant], {"box": {"score_threshold": 0.2}})
    backbone = merge(settings.get("backbone") or part(ResNetFPN, name="resnet18", channels=32), GROUP_NORM)
    detector = make_mask_rcnn(**settings | {"backbone": backbone})
    batch = with_masks(make_batch(*BATCHES["ordinary"]))

    def results():
        detector.zero_grad()
        losses = detector(batch)
        losses["loss_mask"].backward()
        with torch.no_grad():
            masks = detector(dataclasses.replace(batch, targets=None))
        is_found = masks.labels > 0
        return losses["loss_mask"].item(), detector.mask.head.upsample.weight.grad.clone(), masks.masks[is_found]

    skipping = results()
    monkeypatch.setattr(
        "lightning_rcnn.roi_heads.mask_branch.active_indices", lambda is_active: torch.arange(is_active.numel())
    )
    computing_all = results()
    assert len(skipping[2]) > 3
    torch.testing.assert_close(skipping, computing_all, atol=1e-5, rtol=1e-4)


def test_objects_without_a_mask_teach_boxes_only(make_mask_rcnn, make_batch, with_masks):
    detector = make_mask_rcnn(backbone=ResNetFPN("resnet18", norm="group_norm", channels=32))
    batch = with_masks(make_batch(*BATCHES["ordinary"]))
    masks = batch.targets.masks
    sizes = masks.sizes.clone()
    sizes[0, 1] = 0
    partly = dataclasses.replace(batch, targets=batch.targets._replace(masks=masks._replace(sizes=sizes)))
    none = dataclasses.replace(batch, targets=batch.targets._replace(masks=masks._replace(sizes=sizes * 0)))
    all_masks, some_masks, no_masks = detector(batch), detector(partly), detector(none)
    for name in LOSSES[:4]:
        assert all_masks[name] == some_masks[name] == no_masks[name]
    assert no_masks["loss_mask"] == 0
    assert some_masks["loss_mask"] != all_masks["loss_mask"]


def test_the_three_kinds_of_targets_agree_on_a_large_object(make_mask_rcnn, make_batch, with_masks):
    """They differ in the cells that the outline crosses: the lower left triangle of a box, as bitmap and as polygon."""
    x1, y1, x2, y2 = box = (8.0, 4.0, 88.0, 60.0)
    batch = with_masks(make_batch([(*box, 1)]))
    triangle = torch.tensor([[[x1, y1, x2, y2], [x2, y2, x1, y2], [x1, y2, x1, y1]]])[None]
    outline = dataclasses.replace(batch, targets=batch.targets._replace(masks=Polygons(triangle)))
    losses = {}
    for kind in ("soft", "thresholded", "polygon"):
        detector = make_mask_rcnn(mask={"target": kind}, pooler={"aligned": True})
        assert detector.mask_form == ("polygons" if kind == "polygon" else "bitmaps")
        for place, sign in (("lower left", 1), ("upper right", -1)):
            detector.mask.head = Corner(sign)
            losses[kind, place] = detector(outline if kind == "polygon" else batch)["loss_mask"].item()
    for kind in ("soft", "thresholded", "polygon"):
        assert losses[kind, "lower left"] < 0.5 * losses[kind, "upper right"]
        assert losses[kind, "lower left"] == pytest.approx(losses["soft", "lower left"], rel=0.05)


class Corner(torch.nn.Module):
    """Finds the lower left of every region, or the upper right."""

    def __init__(self, sign):
        super().__init__()
        self.sign = sign

    def forward(self, regions):
        line = torch.linspace(-6, 6, 28)
        ramp = self.sign * (line[:, None] - line[None, :])
        return ramp.expand(len(regions), 3, 28, 28) + 0 * regions.sum()


def test_a_mask_is_that_of_the_detections_class(make_mask_rcnn, make_batch):
    """With one map saturated a class, the class of a detection can be read off its mask."""
    detector = make_mask_rcnn(box={"score_threshold": 0.0}).eval()
    torch.nn.init.zeros_(detector.mask.head.logits.weight)
    detector.mask.head.logits.bias.data = torch.tensor([-2.0, 0.0, 2.0])
    with torch.no_grad():
        found = detector(dataclasses.replace(make_batch([]), targets=None))
    expected = torch.tensor([-2.0, 0.0, 2.0]).sigmoid()
    for label in (1, 2, 3):
        masks = found.masks[found.labels == label]
        assert len(masks)
        torch.testing.assert_close(masks, expected[label - 1].expand_as(masks))
    assert found.masks.shape[2:] == (28, 28)


@pytest.mark.parametrize("paste", ["exact", "integer"])
def test_masks_come_as_pixels_of_the_image(make_mask_rcnn, paste):
    detector = make_mask_rcnn(box={"score_threshold": 0.0}, mask={"paste": paste})
    detector.mask.head.logits.bias.data.fill_(9.0)  # all of each box
    image = torch.randint(0, 256, (3, 50, 70), generator=torch.Generator().manual_seed(0)).byte()
    found = detector.detect([image], threshold=0.0)[0]
    assert found["masks"].shape == (len(found["boxes"]), 50, 70)
    assert found["masks"].dtype == torch.bool
    widths, heights = (found["boxes"][:, 2:] - found["boxes"][:, :2]).unbind(1)
    pixels = found["masks"].sum(dim=(1, 2))
    assert (pixels <= (widths + 3) * (heights + 3)).all()
    assert (pixels >= (widths - 3).clamp(min=0) * (heights - 3).clamp(min=0)).all()


def test_no_detection_means_no_mask(make_mask_rcnn):
    found = make_mask_rcnn().detect([torch.zeros(3, 40, 60, dtype=torch.uint8)], threshold=1.0)[0]
    assert found["masks"].shape == (0, 40, 60)


def test_hyperparameters_rebuild_the_detector(make_mask_rcnn):
    detector = make_mask_rcnn(mask={"num_layers": 2}, pooler={"operator": "pool"}, box={"detections_per_image": 300})
    clone = MaskRCNN(**detector.hparams)
    clone.load_state_dict(detector.state_dict())
    assert len(clone.mask.head.convolutions) == 2
    assert clone.main_result_type == "segm"
    assert {name: metric.max_detections for name, metric in clone.evaluation.average_precisions.items()} == {
        "bbox": 300,
        "segm": 300,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": {"target": "hard"}}, "MaskSettings.target: 'hard' is none of soft, thresholded, polygon"),
        ({"mask": {"paste": "nearest"}}, "MaskSettings.paste: 'nearest' is none of exact, integer"),
        ({"pooler": {"operator": "average"}}, "PoolerSettings.operator: 'average' is none of align, pool"),
        (
            {"mask": {"norm": "frozen"}},
            "norm: 'frozen' is none of batch_norm, frozen_batch_norm, group_norm, layer_norm",
        ),
        ({**C4, "mask": {"pooled_size": 7}}, "model.mask: pooled_size: with a C4 backbone"),
    ],
)
def test_unknown_values_are_named(make_mask_rcnn, options, message):
    with pytest.raises(InputError, match=message):
        make_mask_rcnn(**options)


def test_a_batch_without_masks_is_refused(make_mask_rcnn, make_batch):
    with pytest.raises(InputError, match="needs masks to train on"):
        make_mask_rcnn()(make_batch([(10, 10, 40, 50, 1)]))
