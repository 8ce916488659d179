"""The settings of an optimizer when a training resumes: those of this run, not those in the checkpoint.

torch puts the settings of an optimizer (learning rate, weight decay, momentum, ...) into its state, and those of a
schedule into the schedule's. What is loaded would rule over what was asked for.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_rcnn.errors import InputError

CLASSES = "optimizer_classes"
"""Where a checkpoint says of which classes its optimizers are."""
RATES = ("lr", "initial_lr")
HOW_TO_COMPUTE = ("params", "foreach", "fused", "capturable", "differentiable")
"""Settings under which a step does the same."""
NEED_A_STATE = ("amsgrad", "centered")
"""Settings that need a state from the first step on, which a training without them does not have."""


class OptimizerSettings(Callback):
    """Lets the settings of this run rule over those in the checkpoint that it resumes from, and says what differs.

    What the optimizer has gathered (momentum, moments, number of steps) and how far the schedule is come from the
    checkpoint. Detectors bring this callback themselves.

    Raises:
        InputError: the optimizer is another one, or has other parameters, than the checkpoint's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._checkpoint: dict[str, Any] = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the classes."""
        checkpoint[CLASSES] = [type(optimizer).__name__ for optimizer in trainer.optimizers]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the checkpoint until there are optimizers; Lightning restores them after `on_fit_start`."""
        self._checkpoint = checkpoint

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Change the loaded states before they are restored."""
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
            _take_over_schedule(state, config.scheduler, groups)
        if changes:
            listed = ", ".join(dict.fromkeys(changes))
            rank_zero_info(f"The optimizer goes on with the settings of this run, not the checkpoint's: {listed}.")


def _check(optimizer: Optimizer, saved: list[dict[str, Any]], name: str | None) -> None:
    """Refuse a state that is not this optimizer's."""
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
    """What of the settings that change a training differs, for people."""
    rate = _base_rate(saved, group)
    shown = [rate, *(key for key in saved.keys() & group.keys() if key not in (*RATES, *HOW_TO_COMPUTE))]
    pairs = {key: (_plain(saved[key]), _plain(group[key])) for key in sorted(shown)}
    return [
        f"{'lr' if key == rate else key} {before} -> {now}" for key, (before, now) in pairs.items() if before != now
    ]


def _take_over(saved: dict[str, Any], group: Mapping[str, Any]) -> None:
    """Put the settings of a group of parameters in the place of the saved ones; its rate stays on its schedule."""
    rate, before, now = saved["lr"], *(settings[_base_rate(saved, group)] for settings in (saved, group))
    saved |= {key: value for key, value in group.items() if key != "params"}
    if _base_rate(saved, group) == "initial_lr":
        saved["lr"] = rate if before == now else rate * (now / before) if before else now


def _take_over_schedule(state: dict[str, Any], schedule: Any, groups: Sequence[dict[str, Any]]) -> None:
    """The same for a schedule: of its state only the progress is kept.

    Args:
        state: loaded; changed in place.
        schedule: of this run.
        groups: loaded groups of its optimizer, whose rates follow where the schedule is a function of the step.
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
    """The key of the learning rate that was asked for, which a schedule multiplies."""
    return "initial_lr" if "initial_lr" in saved and "initial_lr" in group else "lr"


def _plain(value: Any) -> Any:
    """A setting as it compares, whether from a file or not."""
    return list(value) if isinstance(value, tuple) else value.item() if isinstance(value, Tensor) else value


def _listed(sizes: Sequence[int]) -> str:
    return " and ".join(str(size) for size in sizes)
