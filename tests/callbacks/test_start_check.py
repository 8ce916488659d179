import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook

from lightning_rcnn.callbacks.start_check import StartCheck
from lightning_rcnn.errors import InputError


def test_a_hook_that_lightning_leaves_out_is_refused():
    strategy = DDPStrategy(ddp_comm_hook=bf16_compress_hook)
    trainer = Trainer(accelerator="cpu", devices=1, strategy=strategy, logger=False)
    with pytest.raises(InputError, match="ddp_comm_hook bf16_compress_hook has no effect on a CPU; leave it out"):
        StartCheck().setup(trainer, None, "fit")
