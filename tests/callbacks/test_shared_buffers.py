import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from lightning_rcnn.callbacks.shared_buffers import SharedBuffers


class Normed(LightningModule):
    """Each rank has batches of its own, and so running figures of its own."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def training_step(self, batch, batch_idx):
        return self.norm(batch * (1 + self.global_rank)).square().mean()

    def validation_step(self, batch, batch_idx):
        self.validated = self.norm.running_mean.clone()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_ranks_share_buffers_in_evaluation_and_not_in_each_step(tmp_path, run_ranks):
    def fit_rank(rank):
        trainer = Trainer(
            default_root_dir=tmp_path,
            devices=2,
            strategy="ddp",
            max_epochs=1,
            accelerator="cpu",
            callbacks=[SharedBuffers()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            val_check_interval=2,
        )
        model = Normed()
        before = []
        model.on_validation_start = lambda: before.append(model.norm.running_mean.item())
        data = torch.arange(16.0).reshape(16, 1)
        trainer.fit(model, DataLoader(data, batch_size=4), DataLoader(data, batch_size=8))
        torch.save((before[0], model.validated.item()), tmp_path / f"rank{rank}.pt")

    for ending in run_ranks(fit_rank):
        assert ending.status == 0, ending.errors
    (first, shared), (second, also_shared) = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert first != second
    assert shared == also_shared
