"""Schedules, lengths and steps of mmdetection's trainings: what becomes ours, and what is named."""

from functools import cache
from pathlib import Path

import pytest

from lightning_rcnn.checkpoints.mmdetection import translate
from lightning_rcnn.checkpoints.reading import WeightFile

from ..test_mmdetection import CONFIG_2, changed, weights
from .test_mmdetection_known import named

SCHEDULE_2 = "lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])"
CONFIG_3 = changed(
    CONFIG_2,
    (SCHEDULE_2, "param_scheduler = [WARMUP, RATE]"),
    ("optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)",
     "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02))"),
)  # fmt: skip
WARMUP = "dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)"
RATE = "dict(type='MultiStepLR', milestones=[8, 11], begin=0, end=12, by_epoch=True, gamma=0.1)"
COSINE = "dict(type='CosineAnnealingLR', {})"
STEPS = {"warmup_steps": 500, "milestones": [0.666667, 0.916667]}
SCHEDULER = "param_scheduler."


@cache
def _weights():
    return weights()


def translated(config):
    return translate(WeightFile(Path("epoch_12.pth"), _weights(), {"cfg": config}))


def schedule(config):
    return translated(config).hyperparameters.get("schedule", {}).get("init_args")


@pytest.mark.parametrize(
    ("old", "new", "expected", "keys"),
    [
        ("step=[8, 11]", "step=3", STEPS | {"milestones": [0.25, 0.5, 0.75]}, []),
        (", warmup_ratio=0.001", "", STEPS, ["lr_config.warmup_ratio 0.1"]),
        ("warmup_ratio=0.001", "warmup_ratio=0.01", STEPS, ["lr_config.warmup_ratio 0.01"]),
        ("warmup='linear'", "warmup='constant'", STEPS | {"warmup_steps": 0},
         ["lr_config.warmup constant", "lr_config.warmup_iters 500"]),
        ("warmup='linear'", "warmup='linear', warmup_by_epoch=True", STEPS | {"warmup_steps": 0},
         ["lr_config.warmup_by_epoch True", "lr_config.warmup_iters 500"]),
        ("policy='step'", "policy='CosineAnnealing', min_lr=1e-5", {"warmup_steps": 500}, ["lr_config.min_lr 1e-05"]),
        ("step=[8, 11]", "step=[]", None, ["lr_config.policy step"]),
        ("optimizer_config = dict(", "optimizer_config = dict(type='OtherHook', ", STEPS,
         ["optimizer_config.type OtherHook"]),
        ("policy='step'", "policy='poly', power=0.9", None, ["lr_config.policy poly", "lr_config.power 0.9"]),
    ],
)  # fmt: skip
def test_rates_of_2(old, new, expected, keys):
    config = changed(CONFIG_2, (old, new))
    assert (schedule(config), named(config)) == (expected, keys)


@pytest.mark.parametrize(
    ("warmup", "rate", "expected", "keys"),
    [
        (WARMUP, RATE, STEPS, []),
        (WARMUP, COSINE.format("T_max=12, eta_min=0, convert_to_iter_based=True"), {"warmup_steps": 500}, []),
        (WARMUP, COSINE.format("T_max=6"), None, [f"{SCHEDULER}1.T_max 6"]),
        (WARMUP, COSINE.format("begin=6, end=12, T_max=6"), None, [f"{SCHEDULER}1.begin 6"]),
        (WARMUP, COSINE.format("end=8, T_max=12"), None, [f"{SCHEDULER}1.end 8"]),
        (WARMUP, COSINE.format("T_max=12, eta_min=1e-5"), None, [f"{SCHEDULER}1.eta_min 1e-05"]),
        (WARMUP, f"{RATE}, dict(type='MultiStepLR', milestones=[10])", None,
         [f"{SCHEDULER}1.type MultiStepLR", f"{SCHEDULER}2.type MultiStepLR"]),
        (WARMUP, RATE.replace("gamma=0.1", "gamma=0.5"), None, [f"{SCHEDULER}1.gamma 0.5"]),
        (WARMUP, RATE.replace("begin=0", "begin=2"), None, [f"{SCHEDULER}1.begin 2"]),
        (WARMUP, "dict(type='PolyLR', power=0.9)", None, [f"{SCHEDULER}1.type PolyLR"]),
        (WARMUP.replace("False", "True"), RATE, STEPS | {"warmup_steps": 0}, [f"{SCHEDULER}0.by_epoch True"]),
        (WARMUP.replace("by_epoch=False, ", ""), RATE, STEPS | {"warmup_steps": 0}, [f"{SCHEDULER}0.by_epoch True"]),
        (WARMUP.replace("0.001", "0.1"), RATE, STEPS, [f"{SCHEDULER}0.start_factor 0.1"]),
        (WARMUP.replace("begin=0", "begin=100"), RATE, STEPS | {"warmup_steps": 0}, [f"{SCHEDULER}0.begin 100"]),
    ],
)  # fmt: skip
def test_rates_of_3(warmup, rate, expected, keys):
    config = changed(CONFIG_3, ("WARMUP", warmup), ("RATE", rate))
    assert (schedule(config), sorted(named(config))) == (expected, keys)


def test_a_scheduler_may_stand_alone():
    assert schedule(changed(CONFIG_3, ("[WARMUP, RATE]", RATE))) == STEPS | {"warmup_steps": 0}


def test_a_cosine_in_iterations_may_begin_behind_the_warmup():
    cosine = COSINE.format("by_epoch=False, begin=500, end=9000, T_max=8500")
    in_steps = ("total_epochs = 12", "runner = dict(type='IterBasedRunner', max_iters=9000)")
    config = changed(CONFIG_3, ("WARMUP", WARMUP), ("RATE", cosine), in_steps)
    assert (schedule(config), named(config)) == ({"warmup_steps": 500}, [])


@pytest.mark.parametrize(
    ("old", "new", "expected", "keys"),
    [
        ("type='OptimWrapper'", "type='AmpOptimWrapper', loss_scale='dynamic'", {"precision": "16-mixed"}, []),
        ("type='OptimWrapper'", "type='AmpOptimWrapper', dtype='bfloat16'", {"precision": "bf16-mixed"}, []),
        ("type='OptimWrapper'", "type='AmpOptimWrapper', loss_scale=512.", {"precision": "16-mixed"},
         ["optim_wrapper.loss_scale 512.0"]),
        ("type='OptimWrapper'", "type='DeepSpeedOptimWrapper'", {}, ["optim_wrapper.type DeepSpeedOptimWrapper"]),
        ("norm_eval=True", "norm_eval=False, norm_cfg=dict(type='SyncBN', requires_grad=True)",
         {"sync_batchnorm": True}, []),
        ("norm_eval=True", "norm_eval=True, norm_cfg=dict(type='SyncBN', requires_grad=True)", {}, []),
        ("norm_eval=True", "norm_eval=False, norm_cfg=dict(type='BN', requires_grad=True)", {}, []),
    ],
)  # fmt: skip
def test_the_trainer(old, new, expected, keys):
    config = changed(CONFIG_3, ("WARMUP", WARMUP), ("RATE", RATE), (old, new))
    trainer = translated(config).run["trainer"]
    assert ({key: value for key, value in trainer.items() if key != "max_epochs"}, named(config)) == (expected, keys)


def test_steps_of_several_batches_are_fewer():
    """mmdetection counts batches, and we steps of the optimizer: four batches are one."""
    config = changed(
        CONFIG_3,
        ("WARMUP", WARMUP),
        ("RATE", "dict(type='MultiStepLR', milestones=[6000, 8000], by_epoch=False)"),
        ("total_epochs = 12", "runner = dict(type='IterBasedRunner', max_iters=9000)"),
        ("type='OptimWrapper'", "type='OptimWrapper', accumulative_counts=4"),
    )
    trainer = translated(config).run["trainer"]
    assert trainer == {"max_epochs": -1, "max_steps": 2250, "accumulate_grad_batches": 4}
    assert schedule(config) == {"warmup_steps": 125, "milestones": [0.666667, 0.888889]}
    assert named(config) == []
