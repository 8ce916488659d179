"""A whole step through torch's compiler: one graph without breaks, the same losses, one compilation for all batches."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from lightning_rcnn.backbones.regnet import RegNetFPN
from lightning_rcnn.detectors.cascade_rcnn import CascadeMaskRCNN
from lightning_rcnn.detectors.faster_rcnn import FasterRCNN
from lightning_rcnn.detectors.keypoint_rcnn import KeypointRCNN
from lightning_rcnn.detectors.mask_rcnn import MaskRCNN
from lightning_rcnn.detectors.point_rend import PointRend
from lightning_rcnn.parts import part
from lightning_rcnn.plain_data import merge

from .conftest import SMALL
from .test_faster_rcnn import MMDETECTION
from .test_keypoint_rcnn import KEYPOINT, with_keypoints
from .test_point_rend import MASK as POINTS

REGNET = part(RegNetFPN, name="regnet_x_400mf", norm="frozen_batch_norm", channels=32)

BATCHES = [
    ([(10, 10, 40, 50, 1), (30, 5, 90, 60, 2)], [(0, 0, 20, 20, 3)]),
    ([(10, 10, 40, 50, 1)], []),
    ([(0, 0, 96, 64, 1, "crowd"), (5, 5, 30, 30, 2)], [(1, 1, 1.5, 1.5, 1), (20, 20, 70, 60, 2)]),
]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def padded(batch):
    """The same batch with its bits in a buffer of a length that recurs, as collate makes them."""
    masks = batch.targets.masks
    bits = torch.nn.functional.pad(masks.bits, (0, 4096 - len(masks.bits)))
    return replace(batch, targets=batch.targets._replace(masks=masks._replace(bits=bits)))


def gradients_of(detector, loss_sums):
    detector.zero_grad()
    sum(loss.total for loss in loss_sums.values()).backward()
    return {name: parameter.grad for name, parameter in detector.named_parameters()}


MASKS = SMALL | {"mask": {"width": 16}}
KINDS = {
    "faster_rcnn": lambda: FasterRCNN(**SMALL),
    "faster_rcnn, rules of mmdetection": lambda: FasterRCNN(**merge(SMALL, MMDETECTION)),
    "faster_rcnn on a RegNet": lambda: FasterRCNN(**SMALL | {"backbone": REGNET}),
    "mask_rcnn": lambda: MaskRCNN(**MASKS),
    "mask_rcnn, predicted boxes": lambda: MaskRCNN(**merge(MASKS, {"box": {"passes_on": "predicted"}})),
    "cascade_mask_rcnn": lambda: CascadeMaskRCNN(**MASKS),
    "cascade_mask_rcnn, samples of each stage": lambda: CascadeMaskRCNN(**merge(MASKS, {"box": {"samples": "each"}})),
    "point_rend": lambda: PointRend(**SMALL | {"mask": POINTS}),
    "keypoint_rcnn": lambda: KeypointRCNN(**SMALL | KEYPOINT),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.end_to_end
def test_a_step_compiles_once_and_gives_the_losses_of_eager(make_batch, with_masks, kind):
    torch.manual_seed(0)
    detector = KINDS[kind]()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(detector.loss_sums, fullgraph=True, backend=counter)
    for step, objects in enumerate(BATCHES):
        batch = make_batch(*objects, max_objects=2)
        batch = padded(with_masks(batch)) if "mask" in kind or "point_rend" in kind else batch
        batch = with_keypoints(batch) if "keypoint" in kind else batch
        detector.sampling_seed.fill_(step)
        ours, theirs = (run(batch.inputs, batch.targets) for run in (compiled, detector.loss_sums))
        assert list(ours) == list(theirs)
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5, msg=name)
    assert counter.frame_count == 1
    found, expected = gradients_of(detector, ours), gradients_of(detector, theirs)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-4, msg=name)
