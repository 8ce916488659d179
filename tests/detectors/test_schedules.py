import pytest
import torch

from lightning_rcnn.detectors.schedules import (
    ConstantSchedule,
    CosineSchedule,
    StepSchedule,
    cosine_factor,
    one_cycle_factor,
    step_factor,
)


def test_steps_with_warmup():
    factor = step_factor(100, 10, (0.5, 0.8))
    assert factor(0) == pytest.approx(0.001)
    assert factor(5) == pytest.approx(0.5005)
    assert [factor(step) for step in (10, 49)] == [1, 1]
    assert [round(factor(step), 9) for step in (50, 79, 80, 99)] == [0.1, 0.1, 0.01, 0.01]


@pytest.mark.parametrize("schedule", [StepSchedule, CosineSchedule])
@pytest.mark.parametrize(("total", "steps"), [(90_000, 1000), (10_000, 1000), (9_999, 999), (312, 31), (9, 0)])
def test_the_warmup_is_that_of_the_papers_and_a_tenth_of_a_short_training(schedule, total, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    (of_default,), (of_given,) = (
        schedule(optimizer, total, **given).lr_lambdas for given in ({}, {"warmup_steps": steps})
    )
    assert [of_default(step) for step in range(0, total, 3)] == [of_given(step) for step in range(0, total, 3)]
    assert of_default(steps) == pytest.approx(1)
    assert of_default(0) == pytest.approx(0.001 if steps else 1)


def test_one_cycle_is_torchs():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=50)
    factor = one_cycle_factor(50)
    for step in range(49):
        assert factor(step) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_cosine_ends_at_zero_and_constant_stays():
    factor = cosine_factor(100, 10)
    assert factor(10) == 1
    assert factor(55) == pytest.approx(0.5)
    assert factor(100) == pytest.approx(0)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    assert ConstantSchedule(optimizer, warmup_steps=0).lr_lambdas[0](12345) == 1
