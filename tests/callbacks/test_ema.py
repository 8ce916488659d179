from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel

from lightning_rcnn.callbacks.ema import EMA


class Line(LightningModule):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Linear(1, 1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_average_lies_where_the_model_will_be(device):
    """Callbacks are set up before the model moves."""
    average = EMA(decay=0.5)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))
    average.setup(trainer, Line(), "fit")
    assert {parameter.device.type for parameter in average._average_model.parameters()} == {device}


def averages_of(callback, num_steps):
    """The average after each step, of weights and statistics that change by chance, and of a count."""
    torch.manual_seed(0)
    line = Line()
    line.norm = torch.nn.BatchNorm1d(1)
    callback.setup(SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu"))), line, "fit")
    found = []
    for step in range(num_steps):
        with torch.no_grad():
            for tensor in (*line.parameters(), line.norm.running_mean):
                tensor.normal_()
            line.norm.num_batches_tracked.add_(1)
        callback.on_train_batch_end(SimpleNamespace(global_step=step + 1), line, None, None, step)
        found.append({name: value.clone() for name, value in callback._average_model.state_dict().items()})
    return found


def test_the_average_is_lightnings():
    ours, theirs = averages_of(EMA(decay=0.9), 5), averages_of(EMAWeightAveraging(decay=0.9), 5)
    for mine, their in zip(ours, theirs, strict=True):
        assert mine.keys() == their.keys()
        for name, value in their.items():  # many tensors at a time round otherwise than one
            torch.testing.assert_close(mine[name], value, rtol=1e-6, atol=1e-7, msg=name)


def test_an_evaluation_takes_the_averages_of_a_checkpoint_without_a_warning(tmp_path, recwarn):
    settings = dict(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=2)
    Trainer(max_steps=3, limit_val_batches=0, callbacks=[EMA(decay=0.9), saving], **settings).fit(BoringModel())
    saved = torch.load(saving.best_model_path, weights_only=True)
    averages, weights = saved["state_dict"]["layer.weight"], saved["current_model_state"]["layer.weight"]
    assert not averages.equal(weights)
    recwarn.clear()
    evaluated = BoringModel()
    Trainer(callbacks=[EMA(decay=0.9)], **settings).validate(
        evaluated, ckpt_path=saving.best_model_path, weights_only=True, verbose=False
    )
    assert evaluated.layer.weight.equal(averages)
    assert not any("WeightAveraging" in str(warning.message) for warning in recwarn)


def test_an_average_from_a_checkpoint_is_resumed():
    """It is not taken for the first one, which would copy the weights."""
    callback = EMA(decay=0.9)
    before = averages_of(callback, 3)[-1]
    fresh = EMA(decay=0.9)
    averages_of(fresh, 0)
    fresh._average_model.load_state_dict(before)
    line = Line()
    line.norm = torch.nn.BatchNorm1d(1)
    fresh._average_model.update_parameters(line)
    expected = torch.lerp(before["module.slope.weight"], line.slope.weight.detach(), 0.1)
    assert fresh._average_model.module.slope.weight.equal(expected)
