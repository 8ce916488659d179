"""PointRend against loops over regions with `grid_sample` on whole images, as the authors' code samples points."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.ops import roi_align

from lightning_rcnn.backbones.c4 import ResNetC4
from lightning_rcnn.detectors.point_rend import PointRend
from lightning_rcnn.errors import InputError
from lightning_rcnn.ops.mask_targets import align_bitmaps
from lightning_rcnn.ops.points import sample_bitmaps
from lightning_rcnn.parts import part
from lightning_rcnn.roi_heads.point_rend_branch import PointRendSettings
from lightning_rcnn.roi_heads.pooler import PooledFeatures
from lightning_rcnn.structures import Bitmaps, Detections
from tests.seeded import seeded

from .conftest import SMALL
from .test_faster_rcnn import BATCHES

MASK = {
    "coarse_hidden": 32,
    "width": 16,
    "coarse_width": 16,
    "num_points": 20,
    "subdivision_points": 60,
    "subdivisions": 3,
}


@pytest.fixture
def make_point_rend():
    def make(**overrides):
        detector = seeded(PointRend, **SMALL | {"mask": MASK} | overrides)
        for layer in (detector.mask.coarse.logits, detector.mask.point_head.logits):
            torch.nn.init.normal_(layer.weight, std=0.5)  # larger than the initial ones: points differ
        return detector

    return make


def at_points(image, points, extent):
    """Sample [C, H, W] at points [P, 2] of an image of `extent` (width, height): [C, P]."""
    grid = 2 * points / torch.tensor(extent) - 1
    return F.grid_sample(image[None], grid[None, None], align_corners=False)[0, :, 0]


def refined(branch, finest, coarse, box, points):
    """Compute logits [K, P] of points [P, 2], 0 to 1, of one box by the authors' steps."""
    in_image = box[:2] + points * (box[2:] - box[:2])
    stride = branch.stride
    fine = at_points(finest, in_image, (float(finest.shape[2] * stride), float(finest.shape[1] * stride)))
    rough = at_points(coarse, points, (1.0, 1.0))
    hidden = fine[None]
    for layer in branch.point_head.layers:
        hidden = layer(torch.cat((hidden, rough[None]), 1)).relu()
    return branch.point_head.logits(torch.cat((hidden, rough[None]), 1))[0]


def coarse_of(branch, finest, box):
    """Compute the coarse mask [K, S, S] of one box; its grid is RoIAlign with one sample a cell, away from borders."""
    region = roi_align(finest[None], [box[None]], 14, 1 / branch.stride, sampling_ratio=1, aligned=True)
    return branch.coarse(region)[0]


def test_masks_are_those_of_a_loop_over_detections(make_point_rend):
    branch = make_point_rend().eval().mask
    finest = torch.randn(2, 32, 24, 32)
    boxes = torch.tensor([[[20.0, 15, 90, 60], [40, 30, 70, 80], [0, 0, 0, 0]], [[10, 20, 50, 44], [0] * 4, [0] * 4]])
    labels = torch.tensor([[2, 1, -1], [3, -1, -1]])
    found = branch.predict(PooledFeatures(None, [finest]), Detections(boxes, labels.float(), labels))
    assert found.masks.shape == (2, 3, 56, 56)
    for image, number in ((0, 0), (0, 1), (1, 0)):
        box, own = boxes[image, number], labels[image, number] - 1
        coarse = coarse_of(branch, finest[image], box)
        logits = coarse[own]
        for side in (14, 28, 56):
            logits = F.interpolate(logits[None, None], size=(side, side), mode="bilinear", align_corners=False)[0, 0]
            cells = logits.abs().flatten().argsort()[:60]
            points = torch.stack(((cells % side + 0.5) / side, (cells // side + 0.5) / side), dim=1)
            values = refined(branch, finest[image], coarse, box, points)[own]
            logits = logits.flatten().index_copy(0, cells, values).view(side, side)
        torch.testing.assert_close(found.masks[image, number], logits.sigmoid(), rtol=1e-4, atol=1e-4)
    assert found.masks[labels < 0].abs().max() == 0


def test_points_of_few_cells_are_left_to_the_next_doubling(make_point_rend):
    """784 points are all cells of 28 x 28, so those of 14 x 14 are not computed."""
    branch = make_point_rend(mask={**MASK, "subdivision_points": 784}).eval().mask
    seen = []
    branch.point_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2]))
    boxes, labels = torch.tensor([[[20.0, 15, 90, 60]]]), torch.tensor([[2]])
    branch.predict(PooledFeatures(None, [torch.randn(1, 32, 24, 32)]), Detections(boxes, labels.float(), labels))
    assert seen == [784, 784]


def test_losses_are_those_of_a_loop_over_regions(make_point_rend, make_batch, with_masks):
    detector = make_point_rend()
    batch = with_masks(make_batch([(20, 12, 60, 50, 1), (30, 15, 80, 55, 2)], [(10, 10, 40, 40, 3)]))
    seen = {}
    branch = detector.mask
    choose = branch._training_points
    branch._training_points = lambda *args: seen.setdefault("points", choose(*args))
    original = branch.losses

    def spy(pooled, rois, inputs, targets, seed):
        seen.update(rois=rois, finest=pooled.features[0])
        return original(pooled, rois, inputs, targets, seed)

    branch.losses = spy
    losses = detector.loss_sums(batch.inputs, batch.targets)
    masks, rois = batch.targets.masks, seen["rois"]
    height, width = batch.images.shape[-2:]
    coarse_total, point_total, number = 0.0, 0.0, 0
    for image, region in rois.is_positive.nonzero().tolist():
        box, index, own = (value[image, region] for value in (rois.boxes, rois.gt_index, rois.labels - 1))
        bits = masks.bits[masks.first_byte[image, index] :][: height * width // 8]
        dense = torch.tensor([[byte >> shift & 1 for shift in range(7, -1, -1)] for byte in bits.tolist()]).float()
        dense = dense.flatten()[: height * width].view(1, height, width)
        coarse = branch._coarse(seen["finest"][image : image + 1], box[None, None])[0]
        # Cells that are half covered may fall on either side, so the tested operator decides.
        one = masks._replace(
            **{name: getattr(masks, name)[image : image + 1] for name in ("first_byte", "sizes", "boxes")}
        )
        wanted = align_bitmaps(one, box[None, None], index[None, None], index[None, None] >= 0, size=7, aligned=True)
        wanted = wanted[0, 0] >= 0.5
        coarse_total += F.binary_cross_entropy_with_logits(coarse[own], wanted.float())
        points = seen["points"][image, region]
        assert ((points >= 0) & (points < 1)).all()
        values = refined(branch, seen["finest"][image], coarse, box, points)[own]
        labels = at_points(dense, box[:2] + points * (box[2:] - box[:2]), (float(width), float(height)))[0]
        point_total += F.binary_cross_entropy_with_logits(values, labels)
        number += 1
    assert number >= 3
    assert losses["loss_mask"].number == losses["loss_mask_point"].number == number
    torch.testing.assert_close(losses["loss_mask"].total, coarse_total, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(losses["loss_mask_point"].total, point_total, rtol=1e-4, atol=1e-4)


def test_points_are_mostly_uncertain_and_depend_on_their_image_only(make_point_rend):
    branch = make_point_rend().mask
    logits = torch.randn(6, 7, 7)
    both = branch._training_points(logits, torch.tensor([5, 9]), 3, torch.tensor(4))
    assert both.shape == (2, 3, 20, 2)
    alone = branch._training_points(logits[3:5], torch.tensor([9]), 2, torch.tensor(4))
    assert torch.equal(both[1:, :2], alone)
    assert not torch.equal(both, branch._training_points(logits, torch.tensor([5, 9]), 3, torch.tensor(5)))
    values = torch.stack(
        [at_points(one[None], points, (1.0, 1.0))[0] for one, points in zip(logits, both.flatten(0, 1), strict=True)]
    )
    chosen, others = values.abs().split((15, 5), dim=1)
    assert chosen.mean() < 0.5 * others.mean()


def test_bitmaps_are_sampled_as_whole_images_are():
    """Crops with one empty pixel around, at another resolution than the resized frame."""
    generator = torch.Generator().manual_seed(0)
    dense = torch.zeros(2, 40, 60)
    dense[0, 5:25, 8:31] = torch.randint(0, 2, (20, 23), generator=generator)
    dense[1, 20:39, 30:59] = torch.randint(0, 2, (19, 29), generator=generator)
    crops = [(7, 4, 32, 26), (29, 19, 60, 40)]
    packed, first = [], []
    for one, (x1, y1, x2, y2) in zip(dense, crops, strict=True):
        first.append(sum(map(len, packed)))
        bits = one[y1:y2, x1:x2].flatten().tolist()
        bits += [0.0] * (-len(bits) % 8)
        packed.append([int("".join(str(int(b)) for b in bits[i : i + 8]), 2) for i in range(0, len(bits), 8)])
    scale = torch.tensor([2.0, 1.5])
    masks = Bitmaps(
        torch.tensor([byte for crop in packed for byte in crop], dtype=torch.uint8),
        torch.tensor([[0, *first]]),
        torch.tensor([[[0, 0], *[(y2 - y1, x2 - x1) for x1, y1, x2, y2 in crops]]]),
        torch.tensor([[[0.0] * 4, *crops]]) * scale.repeat(2),
    )
    points = torch.rand(1, 3, 200, 2, generator=generator) * torch.tensor([60.0, 40.0]) * scale
    found = sample_bitmaps(masks, points, torch.tensor([[1, 2, 0]]))
    for region in range(2):
        expected = at_points(dense[region : region + 1], points[0, region], (120.0, 60.0))[0]
        torch.testing.assert_close(found[0, region], expected, rtol=0, atol=1e-4)
    assert found[0, 2].abs().max() == 0


@pytest.mark.parametrize("kind", ["ordinary", "no objects", "only crowds"])
def test_losses_are_finite_and_every_parameter_takes_part(make_point_rend, make_batch, with_masks, kind):
    detector = make_point_rend()
    losses = detector(with_masks(make_batch(*BATCHES[kind])))
    assert set(losses) == set(detector.loss_names)
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_step_and_a_detection_read_no_values(make_point_rend, make_batch, with_masks):
    """Fake tensors have shapes and no values: `nonzero`, `.item()` or a boolean index would raise."""
    batch = with_masks(make_batch(*BATCHES["ordinary"]))
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        detector = PointRend(**SMALL | {"mask": MASK})
        fake = batch.map_tensors(mode.from_tensor)
        sum(detector.losses(fake.inputs, fake.targets).values()).backward()
        detections = detector.eval()(dataclasses.replace(fake, targets=None))
    assert detections.masks.shape == (2, 100, 56, 56)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="pooled_size 7: is halved; give an even number"):
        PointRendSettings(pooled_size=7)
    with pytest.raises(InputError, match="a backbone without region stage"):
        PointRend(**SMALL | {"backbone": part(ResNetC4, name="resnet18"), "rpn": {"anchors": {"sizes": [16, 32]}}})
