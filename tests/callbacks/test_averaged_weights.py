from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule

from lightning_rcnn.callbacks.averaged_weights import AveragedWeights


class Line(LightningModule):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Linear(1, 1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_average_lies_where_the_model_will_be(device):
    """Callbacks are set up before the model moves."""
    average = AveragedWeights(decay=0.5)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))
    average.setup(trainer, Line(), "fit")
    assert {parameter.device.type for parameter in average._average_model.parameters()} == {device}
