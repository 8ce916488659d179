"""A whole step through torch's compiler: one graph without breaks, the same losses, one compilation for all batches."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

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


@pytest.mark.parametrize("kind", ["faster_rcnn", "mask_rcnn"])
@pytest.mark.end_to_end
def test_a_step_compiles_once_and_gives_the_losses_of_eager(
    make_detector, make_mask_rcnn, make_batch, with_masks, kind
):
    detector = make_detector() if kind == "faster_rcnn" else make_mask_rcnn()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(detector.loss_sums, fullgraph=True, backend=counter)
    for step, objects in enumerate(BATCHES):
        batch = make_batch(*objects, max_objects=2)
        batch = padded(with_masks(batch)) if kind == "mask_rcnn" else batch
        detector.sampling_seed.fill_(step)
        ours, theirs = (run(batch.inputs, batch.targets) for run in (compiled, detector.loss_sums))
        assert list(ours) == list(theirs)
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5, msg=name)
    assert counter.frame_count == 1
    found, expected = gradients_of(detector, ours), gradients_of(detector, theirs)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-4, msg=name)
