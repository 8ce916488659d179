import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader

from lightning_rcnn.callbacks.gradient_order import GradientOrder


class Layers(LightningModule):
    """Parameters are ready in another order than they are registered in, and need several buckets."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.second, self.first, self.third = (nn.Linear(300, 300) for _ in range(3))
        self.gradients = []

    def training_step(self, batch, batch_idx):
        inputs = batch + torch.randn(16, 300, generator=torch.Generator().manual_seed(self.global_rank))
        return self.third(self.second(self.first(inputs).relu()).relu()).square().mean()

    def on_before_optimizer_step(self, optimizer):
        self.gradients.append([parameter.grad.clone() for parameter in self.parameters()])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.parametrize("callbacks", [[], [GradientOrder()]], ids=["without", "with"])
@pytest.mark.end_to_end
def test_the_first_step_adds_the_gradients_of_ranks_as_the_others_do(callbacks, tmp_path, run_ranks):
    def fit_rank(rank):
        trainer = Trainer(
            default_root_dir=tmp_path,
            devices=3,
            strategy=DDPStrategy(bucket_cap_mb=0.5),
            max_epochs=1,
            accelerator="cpu",
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        model = Layers()
        trainer.fit(model, DataLoader(torch.zeros(3, 1, 1), batch_size=None))
        torch.save(model.gradients, tmp_path / f"rank{rank}.pt")

    for ending in run_ranks(fit_rank, 3):
        assert ending.status == 0, ending.errors
    first, second, third = torch.load(tmp_path / "rank0.pt")
    assert all(map(torch.equal, second, third))
    assert all(map(torch.equal, first, second)) == bool(callbacks)
