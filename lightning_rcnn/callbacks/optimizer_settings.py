"""Settings of the optimizer when a training resumes: those of this run override those in the checkpoint.

torch stores the settings of an optimizer (learning rate, weight decay, momentum, ...) in its state, and those of a
schedule in the schedule's state. Loading them would override what the user asked for. A schedule also counts its steps;
in a training that counts epochs, as many steps are another share of it if an epoch has another number of steps, because
the global batch changed.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_rcnn.errors import InputError

CLASSES = "optimizer_classes"
"""Key of a checkpoint for the classes of its optimizers."""
STEPS = "steps_per_epoch"
"""Key of a checkpoint for the number of optimizer steps of an epoch; None if it is unknown."""
RATES = ("lr", "initial_lr")
HOW_TO_COMPUTE = ("params", "foreach", "fused", "capturable", "differentiable")
"""Settings that do not change the result of a step."""
NEED_A_STATE = ("amsgrad", "centered")
"""Settings that need optimizer state from the first step on."""


class OptimizerSettings(Callback):
    """Makes the settings of this run override those of the checkpoint it resumes from, and logs the differences.

    The state of the optimizer (momentum, moments, number of steps) and the progress of the schedule come from the
    checkpoint. If an epoch has another number of steps now, a schedule that is a function of the step continues at the
    same share of the epochs. Detectors add this callback themselves.

    Raises:
        InputError: the optimizer is of another class, or has other parameters, than the checkpoint's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._checkpoint: dict[str, Any] = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the classes of the optimizers, and the number of steps of an epoch."""
        checkpoint[STEPS] = _steps_per_epoch(trainer)
        checkpoint[CLASSES] = [type(optimizer).__name__ for optimizer in trainer.optimizers]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the checkpoint until the optimizers exist; Lightning restores them after `on_fit_start`."""
        self._checkpoint = checkpoint

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Edit the loaded states before Lightning restores them."""
        checkpoint, self._checkpoint = self._checkpoint, {}
        states = checkpoint.get("optimizer_states", [])
        classes = checkpoint.get(CLASSES, [None] * len(states))
        changes: list[str] = []
        for optimizer, state, name in zip(trainer.optimizers, states, classes, strict=False):
            _check(optimizer, state["param_groups"], name)
            for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
                changes += _differences(saved, group)
                _take_over(saved, group)
        for config, state in zip(trainer.lr_scheduler_configs, checkpoint.get("lr_schedulers", []), strict=False):
            groups = states[trainer.optimizers.index(config.scheduler.optimizer)]["param_groups"]
            if trainer.max_steps == -1 and config.interval == "step":
                _convert_progress(state, config.scheduler, checkpoint.get(STEPS), _steps_per_epoch(trainer))
            _take_over_schedule(state, config.scheduler, groups)
        if changes:
            listed = ", ".join(dict.fromkeys(changes))
            rank_zero_info(f"The optimizer resumes with the settings of this run, not the checkpoint's: {listed}.")


def _check(optimizer: Optimizer, saved: list[dict[str, Any]], name: str | None) -> None:
    """Refuse a state that does not fit the optimizer."""
    own = type(optimizer).__name__
    way_out = "or start another training from its weights with --model.weights and a --run_dir of its own"
    here, there = optimizer.param_groups[0].keys(), saved[0].keys()
    if name not in (None, own) or (here - there and there - here):
        raise InputError(
            f"the optimizer is {own}, and the checkpoint has the state of {name or 'another one'}: keep it, {way_out}"
        )
    sizes = [[len(group["params"]) for group in groups] for groups in (saved, optimizer.param_groups)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"the optimizer has groups of {_listed(sizes[1])} parameters, and the checkpoint of {_listed(sizes[0])}: "
            f"train the same layers with the same model.parameter_groups, {way_out}"
        )
    for key in NEED_A_STATE:
        if optimizer.param_groups[0].get(key) and not saved[0].get(key):
            raise InputError(f"the optimizer has {key}, for which the checkpoint has no state: leave it out, {way_out}")


def _differences(saved: Mapping[str, Any], group: Mapping[str, Any]) -> list[str]:
    """Return the settings that change a training and differ, as "key before -> now"."""
    rate = _base_rate(saved, group)
    shown = [rate, *(key for key in saved.keys() & group.keys() if key not in (*RATES, *HOW_TO_COMPUTE))]
    pairs = {key: (_plain(saved[key]), _plain(group[key])) for key in sorted(shown)}
    return [
        f"{'lr' if key == rate else key} {before} -> {now}" for key, (before, now) in pairs.items() if before != now
    ]


def _take_over(saved: dict[str, Any], group: Mapping[str, Any]) -> None:
    """Replace the saved settings of a parameter group; its learning rate stays on its schedule."""
    rate, before, now = saved["lr"], *(settings[_base_rate(saved, group)] for settings in (saved, group))
    saved |= {key: value for key, value in group.items() if key != "params"}
    if _base_rate(saved, group) == "initial_lr":
        saved["lr"] = rate if before == now else rate * (now / before) if before else now


def _steps_per_epoch(trainer: Trainer) -> int | None:
    """Return the number of optimizer steps of an epoch; None if it is unknown, or changes from epoch to epoch."""
    batches = trainer.num_training_batches
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # added later
    changes = any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks)
    return None if changes or math.isinf(batches) else math.ceil(batches / trainer.accumulate_grad_batches)


def _convert_progress(state: dict[str, Any], schedule: Any, before: int | None, now: int | None) -> None:
    """Convert the progress of a schedule from steps of epochs with `before` steps to those with `now` steps.

    Args:
        state: loaded state of the schedule; changed in place.
        schedule: schedule of this run; one that is no function of the step keeps its progress.
        before, now: steps of an epoch in the checkpoint and in this run; None or 0 if unknown.
    """
    if not before or not now or before == now or not isinstance(schedule, LambdaLR):
        return
    saved = state["last_epoch"]
    state["last_epoch"] = round(saved * now / before)
    state["_step_count"] = state["last_epoch"] + 1
    rank_zero_info(
        f"The schedule resumes at step {state['last_epoch']}, not {saved}: an epoch has {now} steps, and had {before}."
    )


def _take_over_schedule(state: dict[str, Any], schedule: Any, groups: Sequence[dict[str, Any]]) -> None:
    """Replace the saved settings of a schedule and keep its progress.

    Args:
        state: loaded state of the schedule; changed in place.
        schedule: schedule of this run.
        groups: loaded parameter groups of its optimizer; their rates are set if the schedule is a function of the step.
    """
    for inner_state, inner in zip(state.get("_schedulers", ()), getattr(schedule, "_schedulers", ()), strict=False):
        _take_over_schedule(inner_state, inner, ())
    arguments = inspect.signature(type(schedule)).parameters.keys() - {"last_epoch", "optimizer"}
    for key in {"base_lrs", *arguments, *(f"_{name}" for name in arguments), *(f"{name}s" for name in arguments)}:
        if key in state and key in vars(schedule):
            state[key] = vars(schedule)[key]
    if isinstance(schedule, LambdaLR):
        state["lr_lambdas"] = [None] * len(schedule.lr_lambdas)
        for group, rate, factor in zip(groups, schedule.base_lrs, schedule.lr_lambdas, strict=False):
            group["lr"] = rate * factor(state["last_epoch"])


def _base_rate(saved: Mapping[str, Any], group: Mapping[str, Any]) -> str:
    """Return the key of the base learning rate, which a schedule multiplies."""
    return "initial_lr" if "initial_lr" in saved and "initial_lr" in group else "lr"


def _plain(value: Any) -> Any:
    """Return a setting in the form in which a file and an optimizer compare equal."""
    return list(value) if isinstance(value, tuple) else value.item() if isinstance(value, Tensor) else value


def _listed(sizes: Sequence[int]) -> str:
    return " and ".join(str(size) for size in sizes)
