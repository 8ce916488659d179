import pytest
import torch

from lightning_rcnn.callbacks import LastCheckpoint, NonFiniteGuard
from lightning_rcnn.errors import InputError


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_stops_at_the_step_and_names_its_samples(scorer, make_loader, make_trainer, bad):
    trainer = make_trainer(NonFiniteGuard())
    with pytest.raises(InputError) as refusal:
        trainer.fit(scorer, make_loader([1, 2, bad, 4], batch_size=2))
    message = str(refusal.value)
    assert f"{bad} at step 3" in message
    assert "samples picture 2-0.jpg (id 20), picture 2-1.jpg (id 21):" in message, "all images, and no empty slots"
    assert "\n" not in message
    assert trainer.global_step == 3


def test_finite_losses_pass(scorer, make_loader, make_trainer):
    trainer = make_trainer(NonFiniteGuard())
    trainer.fit(scorer, make_loader([0, 1e30, -5]))
    assert trainer.global_step == 3


class SlowArrival:
    """An event on a device that is far behind."""

    def query(self):
        return False

    def synchronize(self):
        pass


@pytest.fixture
def device_behind(monkeypatch):
    """Losses that arrive only when they are waited for, as on a busy GPU."""
    from lightning_rcnn.callbacks import non_finite

    original = non_finite._Loss.__init__

    def init(self, *arguments):
        original(self, *arguments)
        self.arrival = SlowArrival()

    monkeypatch.setattr(non_finite._Loss, "__init__", init)


def test_no_checkpoint_is_written_after_a_loss_that_is_still_under_way(
    scorer, make_loader, make_trainer, device_behind, tmp_path
):
    trainer = make_trainer(NonFiniteGuard(), LastCheckpoint(every_n_steps=2), enable_checkpointing=True)
    with pytest.raises(InputError, match="at step 3"):
        trainer.fit(scorer, make_loader([1, 2, float("nan"), 4, 5]))
    assert trainer.global_step == 4, "seen when the checkpoint of step 4 was due"
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 2


def test_the_end_of_an_epoch_waits_for_its_losses(scorer, make_loader, make_trainer, device_behind):
    with pytest.raises(InputError, match="at step 2"):
        make_trainer(NonFiniteGuard()).fit(scorer, make_loader([1, float("nan")]))


@pytest.mark.gpu
def test_on_a_gpu_it_does_not_make_the_device_wait(scorer, make_loader):
    guard = NonFiniteGuard()
    trainer = type("Trainer", (), {"global_step": 7})()
    (batch,) = make_loader([1])
    losses = torch.tensor([1.0, float("nan")], device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        guard.on_train_batch_end(trainer, scorer, {"loss": losses[0]}, batch, 0)
        torch.cuda._sleep(10**9)
        guard.on_train_batch_end(trainer, scorer, {"loss": losses[1]}, batch, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    with pytest.raises(InputError, match="step 7"):
        guard.on_train_epoch_end(trainer, scorer)
