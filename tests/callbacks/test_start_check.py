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


@pytest.mark.parametrize("name", ["max_steps", "max_epochs"])
def test_limits_that_leave_nothing_to_train_are_refused(name):
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, **{name: 0})
    with pytest.raises(InputError, match=f"^trainer.{name} 0: trains nothing; give a number above 0, or -1 for no"):
        StartCheck().setup(trainer, None, "fit")


@pytest.mark.parametrize("limit", [0, 0.0])
def test_no_batches_are_refused(limit):
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, limit_train_batches=limit)
    with pytest.raises(InputError, match=r"^trainer\.limit_train_batches 0: trains nothing; give 1 or more"):
        StartCheck().setup(trainer, None, "fit")
