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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches 0: give 1 or more"),
        ({"accumulate_grad_batches": -1}, "trainer.accumulate_grad_batches -1: give 1 or more"),
        ({"check_val_every_n_epoch": 0}, "trainer.check_val_every_n_epoch 0: give 1 or more"),
        ({"val_check_interval": 0}, "trainer.val_check_interval 0: give more than 0"),
        ({"log_every_n_steps": -1}, "trainer.log_every_n_steps -1: give 0 or more"),
        ({"gradient_clip_val": -0.5}, "trainer.gradient_clip_val -0.5: give 0 or more"),
        ({"min_epochs": 3}, "trainer.min_epochs 3: is more than trainer.max_epochs 2, which ends it"),
        ({"min_steps": 9, "max_steps": 8}, "trainer.min_steps 9: is more than trainer.max_steps 8, which ends it"),
    ],
)
def test_numbers_without_a_meaning_are_refused(options, message):
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, **{"max_epochs": 2, **options})
    with pytest.raises(InputError) as caught:
        StartCheck().setup(trainer, None, "fit")
    assert str(caught.value) == message


@pytest.mark.parametrize("limit", [0, 0.0])
def test_no_batches_are_refused(limit):
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, limit_train_batches=limit)
    with pytest.raises(InputError, match=r"^trainer\.limit_train_batches 0: trains nothing; give 1 or more"):
        StartCheck().setup(trainer, None, "fit")
