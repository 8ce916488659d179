"""Resuming with other settings of the optimizer, against torch's own loop in which they change at that step."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from lightning_rcnn.callbacks.optimizer_settings import OptimizerSettings
from lightning_rcnn.errors import InputError

CHANGE_AT, STEPS = 3, 7
INPUTS = torch.linspace(-1, 1, STEPS * 4).reshape(STEPS, 4)


def factor(step):
    return 1 / (1 + step)


class Line(LightningModule):
    """One group of weights and one of shifts, like the detectors' two."""

    def __init__(self, make_optimizer, make_schedule=None, width=4):
        super().__init__()
        torch.manual_seed(0)
        self.line = torch.nn.Linear(width, 2)
        self.make_optimizer, self.make_schedule = make_optimizer, make_schedule

    def training_step(self, batch, batch_idx):
        return self.loss(self.trainer.global_step)  # resuming within an epoch is not what is tested

    def loss(self, step):
        return self.line(INPUTS[step]).square().sum()

    def train_dataloader(self):
        return range(STEPS)

    def configure_optimizers(self):
        optimizer = self.make_optimizer([{"params": [self.line.weight]}, {"params": [self.line.bias]}])
        if self.make_schedule is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.make_schedule(optimizer), "interval": "step"},
        }


@pytest.fixture
def resume(tmp_path):
    """Trains three steps with one optimizer, resumes with another one, and gives the weights at the end."""

    def train(model, steps, ckpt_path=None):
        trainer = Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[OptimizerSettings()],
        )
        trainer.fit(model, ckpt_path=ckpt_path)
        return trainer

    def run(before, after):
        path = tmp_path / "first.ckpt"
        train(before, CHANGE_AT).save_checkpoint(path)
        train(after, STEPS, path)
        return after.line

    return run


def by_hand(before, settings, schedule=None):
    """torch alone: settings are changed in the optimizer, and the schedule multiplies the rate that is asked for."""
    model = Line(before)
    optimizer = model.configure_optimizers()
    rate = optimizer.defaults["lr"]
    for step in range(STEPS):
        for group in optimizer.param_groups:
            if step >= CHANGE_AT:
                group.update(settings)
                rate = settings.get("lr", rate)
            group["lr"] = rate * (schedule(step) if schedule else 1)
        optimizer.zero_grad()
        model.loss(step).backward()
        optimizer.step()
    return model.line


def sgd(**settings):
    return lambda groups: torch.optim.SGD(groups, **{"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, **settings})


def adamw(**settings):
    return lambda groups: torch.optim.AdamW(groups, **{"lr": 0.05, "weight_decay": 0.1, **settings})


@pytest.mark.parametrize("schedule", [None, factor])
@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        (sgd, {}),
        (sgd, {"lr": 0.01, "weight_decay": 0.3}),
        (sgd, {"momentum": 0.5, "nesterov": True}),
        (adamw, {"lr": 0.01, "weight_decay": 0.0, "betas": (0.5, 0.9)}),
    ],
)
def test_settings_of_the_run_rule(resume, optimizer, settings, schedule):
    make_schedule = schedule and (lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, schedule))
    line = resume(Line(optimizer(), make_schedule), Line(optimizer(**settings), make_schedule))
    expected = by_hand(optimizer(), settings, schedule)
    assert torch.equal(line.weight, expected.weight)
    assert torch.equal(line.bias, expected.bias)


def test_a_schedule_keeps_its_place_and_takes_its_settings_from_the_run(resume):
    def halving(every):
        return lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, every, gamma=0.5)

    line = resume(Line(sgd(), halving(100)), Line(sgd(lr=0.02), halving(5)))
    expected = by_hand(sgd(), {"lr": 0.02}, lambda step: 0.5 ** (step // 5))
    torch.testing.assert_close(line.weight, expected.weight)


def test_the_differences_are_told(resume, caplog):
    with caplog.at_level("INFO"):
        resume(Line(sgd()), Line(sgd(lr=0.01, momentum=0.5)))
    assert "not the checkpoint's: lr 0.05 -> 0.01, momentum 0.9 -> 0.5." in caplog.text


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (Line(sgd()), Line(adamw()), "the optimizer is AdamW, and the checkpoint has the state of SGD"),
        (Line(adamw()), Line(sgd()), "the optimizer is SGD, and the checkpoint has the state of AdamW"),
        (Line(adamw()), Line(adamw(amsgrad=True)), "the optimizer has amsgrad, for which the checkpoint has no state"),
    ],
)
def test_another_optimizer_is_refused(resume, before, after, message):
    with pytest.raises(InputError, match=message) as caught:
        resume(before, after)
    assert "--model.weights" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_trained_layers_are_refused(resume):
    after = Line(lambda groups: torch.optim.SGD(groups[:1], lr=0.05, momentum=0.9))
    with pytest.raises(InputError, match="groups of 1 parameters, and the checkpoint of 1 and 1"):
        resume(Line(sgd()), after)


def test_another_optimizer_is_known_in_checkpoints_that_do_not_name_it(resume, monkeypatch):
    monkeypatch.setattr(OptimizerSettings, "on_save_checkpoint", lambda *_: None)
    with pytest.raises(InputError, match="the checkpoint has the state of another one"):
        resume(Line(sgd()), Line(adamw()))
