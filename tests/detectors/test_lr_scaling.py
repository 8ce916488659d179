"""Learning rates for other global batches, against rates computed by hand."""

from functools import partial
from math import cos, pi, sqrt
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.loggers import Logger
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from lightning_rcnn.callbacks.run_facts import run_facts
from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.pack.shapes import CLASS_NAMES, shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.detectors.optimization import configured
from lightning_rcnn.detectors.parameter_groups import ParameterGroupSettings
from lightning_rcnn.detectors.schedules import ConstantSchedule, CosineSchedule
from lightning_rcnn.errors import InputError
from lightning_rcnn.parts import part

RATE = 0.02
CONSTANT = partial(ConstantSchedule, warmup_steps=0)
SGD_OF_RATE = partial(SGD, lr=RATE)
LINEAR_16 = ParameterGroupSettings(lr_rule="linear", reference_batch_size=16)


@pytest.fixture
def printed(caplog):
    """What the start prints."""
    caplog.set_level("INFO")
    return caplog


def rates_of(scaling, world=1, batch_size=8, accumulated=1, schedule=CONSTANT, make_optimizer=SGD_OF_RATE, **other):
    """Rates of two parameter groups, the second with half the rate, on a number of ranks."""
    trainer = SimpleNamespace(
        **{
            "world_size": world,
            "accumulate_grad_batches": accumulated,
            "datamodule": DetectionDataModule(batch_size=batch_size),
            "callbacks": [],
            "estimated_stepping_batches": 100,
            "gradient_clip_val": None,
            **other,
        }
    )
    module = SimpleNamespace(trainer=trainer, device=torch.device("cpu"))
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": RATE / 2}]
    built = configured(module, make_optimizer, schedule, groups, scaling, {"max": "val/bbox/AP"})
    return [group["lr"] for group in built["optimizer"].param_groups]


@pytest.mark.parametrize(
    ("rule", "world", "batch_size", "accumulated", "expected", "line"),
    [
        ("linear", 1, 8, 1, 0.01, "learning rate 0.02 for 16 images -> 0.01 for 8 (linear rule)"),
        ("linear", 2, 8, 1, 0.02, "learning rate 0.02 for 16 images -> 0.02 for 16 (linear rule)"),
        ("linear", 2, 8, 2, 0.04, "learning rate 0.02 for 16 images -> 0.04 for 32 (linear rule)"),
        ("linear", 1, 8, 4, 0.04, "learning rate 0.02 for 16 images -> 0.04 for 32 (linear rule)"),
        ("square_root", 2, 8, 2, 0.02 * sqrt(2), "-> 0.0282843 for 32 (square-root rule)"),
        ("square_root", 1, 1, 4, 0.01, "-> 0.01 for 4 (square-root rule)"),
    ],
)
def test_the_rates_of_all_groups_follow_the_rule(rule, world, batch_size, accumulated, expected, line, printed):
    rates = rates_of(ParameterGroupSettings(lr_rule=rule, reference_batch_size=16), world, batch_size, accumulated)
    assert rates == [pytest.approx(expected), pytest.approx(expected / 2)]
    assert line in printed.text


@pytest.mark.parametrize("settings", [ParameterGroupSettings(), ParameterGroupSettings(reference_batch_size=16)])
def test_without_a_rule_nothing_changes(settings, printed):
    assert rates_of(settings, world=2, datamodule=None) == [RATE, RATE / 2]
    assert "learning rate" not in printed.text


@pytest.mark.parametrize(("batch_size", "is_named"), [(8, True), (16, False)])
def test_a_rate_for_another_batch_is_named(batch_size, is_named, printed):
    """A recipe for eight GPUs diverges on one with its rate."""
    settings = ParameterGroupSettings(reference_batch_size=16)
    assert rates_of(settings, batch_size=batch_size) == [RATE, RATE / 2]
    line = "The learning rate is for 16 images a step, and a step has 8: model.parameter_groups.lr_rule linear or"
    assert (line in printed.text) == is_named


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: ParameterGroupSettings(lr_rule="linear"),
            "^model.parameter_groups: lr_rule linear: give reference_batch_size",
        ),
        (
            lambda: ParameterGroupSettings(lr_rule="linear", reference_batch_size=0),
            "ParameterGroupSettings.reference_batch_size: 0",
        ),
        (
            lambda: ParameterGroupSettings(lr_rule="quadratic", reference_batch_size=16),
            "ParameterGroupSettings.lr_rule: 'quadratic'",
        ),
        (
            lambda: rates_of(LINEAR_16, datamodule=None),
            "^model.parameter_groups.lr_rule: .* with a DetectionDataModule only",
        ),
        (
            lambda: rates_of(LINEAR_16, callbacks=[GradientAccumulationScheduler({0: 2})]),
            "^model.parameter_groups.lr_rule: GradientAccumulationScheduler changes",
        ),
        (
            lambda: rates_of(LINEAR_16, schedule=partial(OneCycleLR, max_lr=[0.1, 0.1])),
            "^model.parameter_groups.lr_rule: OneCycleLR sets the rate itself, by max_lr",
        ),
        (
            lambda: rates_of(LINEAR_16, make_optimizer=WithoutRate),
            "^model.parameter_groups.lr_rule: WithoutRate has no lr",
        ),
    ],
)
def test_a_rule_that_could_not_hold_is_one_line(build, message):
    with pytest.raises(InputError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_a_rate_that_was_found_is_not_scaled(make_detector):
    detector = make_detector(parameter_groups={"lr_rule": "linear", "reference_batch_size": 16})
    with pytest.raises(InputError, match="the learning-rate finder finds the rate for this global batch"):
        detector.learning_rate = 0.1


class WithoutRate(Optimizer):
    """Optimizer that chooses its steps itself."""

    def __init__(self, params):
        super().__init__([group["params"][0] for group in params], {})


class Rates(Logger):
    """Keeps the logged rates."""

    name, version = "rates", 0

    def __init__(self):
        super().__init__()
        self.rates = []

    def log_metrics(self, metrics, step=None):
        self.rates += [metrics["train/learning_rate"]] if "train/learning_rate" in metrics else []

    def log_hyperparams(self, params, *args, **kwargs):
        pass


class StopAfterFirstEpoch(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaling") / "shards"
    write_shards(shapes_source(8, seed=0), folder, name="shapes", workers=1)
    return str(folder)


@pytest.mark.end_to_end
def test_a_training_resumes_by_the_rule_with_another_global_batch(make_detector, shards, tmp_path, printed):
    """Of two epochs of eight images the first has steps of four, the second of two: half a cosine at 0, 2, 4, ... 7/8.

    The rate is for two images, so it is twice as high in the first epoch.
    """

    def fit(accumulated, ckpt_path=None, callbacks=()):
        logger = Rates()
        detector = make_detector(
            class_names=CLASS_NAMES,
            schedule=part(CosineSchedule, warmup_steps=0),
            parameter_groups={"lr_rule": "linear", "reference_batch_size": 2},
        )
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=2,
            accumulate_grad_batches=accumulated,
            log_every_n_steps=1,
            logger=logger,
            callbacks=[*callbacks],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        data = DetectionDataModule(shards, batch_size=2, num_workers=0)
        trainer.fit(detector, data, ckpt_path=ckpt_path)
        return trainer, logger.rates

    first, rates = fit(2, callbacks=[StopAfterFirstEpoch()])
    assert rates == pytest.approx([2 * RATE * (1 + cos(pi * done / 8)) / 2 for done in (0, 2)])
    assert run_facts(first)["run"]["learning_rate"] == 2 * RATE
    assert run_facts(first)["run"]["global_batch_size"] == 4
    first.save_checkpoint(tmp_path / "first.ckpt")
    _, rates = fit(1, ckpt_path=tmp_path / "first.ckpt")
    assert rates == pytest.approx([RATE * (1 + cos(pi * done / 8)) / 2 for done in (4, 5, 6, 7)])
    assert "learning rate 0.02 for 2 images -> 0.02 for 2 (linear rule)" in printed.text
    assert "The schedule resumes at step 4, not 2: an epoch has 4 steps, and had 2." in printed.text
