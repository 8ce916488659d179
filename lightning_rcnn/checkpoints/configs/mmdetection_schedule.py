"""Schedules of the rate in mmdetection's configurations, of 2.x (`lr_config`) and 3.x (`param_scheduler`)."""

from typing import Any, NamedTuple

from lightning_rcnn.checkpoints.configs.source_keys import SourceKeys
from lightning_rcnn.checkpoints.configs.training import constant_parts
from lightning_rcnn.checkpoints.translation import part

_WARMUP_RATIO = 0.001
"""Start of our warm-up, a share of the rate."""
_USUAL_WARMUP_2, _USUAL_WARMUP_3 = 0.1, 1 / 3
"""Starts of theirs where none is given: of mmcv's hooks, of mmengine's `LinearLR`."""
_ARGUMENTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "LinearLR": {"end_factor": (1.0,), "begin": (0,), "start_factor": (), "end": (), "by_epoch": ()},
    "MultiStepLR": {"gamma": (0.1,), "begin": (0,), "milestones": (), "end": (), "by_epoch": ()},
    "CosineAnnealingLR": {"eta_min": (0,), "eta_min_ratio": (0,), "begin": (), "end": (), "T_max": (), "by_epoch": ()},
}
"""Arguments of mmengine's schedulers: the values that ours have, none where a function reads it."""
_WITHOUT_EFFECT = ("type", "convert_to_iter_based", "verbose", "last_step")


class TrainingLength(NamedTuple):
    """Length of a training in mmdetection's epochs or iterations, and iterations that one optimizer step takes."""

    epochs: int | None
    iterations: int | None
    accumulated: int

    def in_units(self, is_by_epoch: bool) -> int | None:
        """Return the length in epochs or in iterations; None if it is given in the other."""
        return self.epochs if is_by_epoch else self.iterations if not self.epochs else None


class _Rate(NamedTuple):
    """Course of the rate: where it is divided by ten, or whether it follows a cosine, and its warm-up, iterations."""

    milestones: list[int]
    is_cosine: bool = False
    is_by_epoch: bool = True
    warmup: int = 0


def read_schedule(keys: SourceKeys, length: TrainingLength) -> dict[str, Any]:
    """Return the schedule of a detector; what has no counterpart is named, and no schedule then taken."""
    rate = _rate_of_2(keys, length) if keys.is_given("lr_config.policy") else _rate_of_3(keys, length)
    warmup = rate.warmup // length.accumulated
    if rate.is_cosine:
        return {"schedule": part("lightning_rcnn.detectors.schedules.CosineSchedule", warmup_steps=warmup)}
    if not rate.milestones or not (length.epochs or length.iterations):
        return {}
    total = length.in_units(rate.is_by_epoch)
    if total is None:
        keys.name_left("milestones of the rate, in other units than the length of the training")
        return {}
    return {"schedule": constant_parts(rate.milestones, total, warmup)}


def _rate_of_2(keys: SourceKeys, length: TrainingLength) -> _Rate:
    policy, steps = keys["lr_config.policy"], keys["lr_config.step"]
    is_cosine, is_by_epoch = policy == "CosineAnnealing", keys["lr_config.by_epoch"] is not False
    milestones: list[int] = []
    if policy == "step" and steps and isinstance(steps, list):
        milestones = list(steps)
    elif policy == "step" and steps:  # an interval
        milestones = list(range(steps, length.in_units(is_by_epoch) or steps + 1, steps))
    elif not is_cosine:
        keys.name_left("lr_config.policy")
    for name in ("min_lr", "min_lr_ratio"):
        if keys[f"lr_config.{name}"]:
            keys.name_left(f"lr_config.{name}")
    return _Rate(milestones, is_cosine, is_by_epoch, _warmup_of_2(keys))


def _warmup_of_2(keys: SourceKeys) -> int:
    kind, ratio = keys["lr_config.warmup"], keys["lr_config.warmup_ratio"]
    if kind is None:
        return 0
    if kind != "linear" or keys["lr_config.warmup_by_epoch"]:
        keys.name_left("lr_config.warmup" if kind != "linear" else "lr_config.warmup_by_epoch")
        return 0
    if ratio != _WARMUP_RATIO:
        keys.name_left_value("lr_config.warmup_ratio", _USUAL_WARMUP_2)
    return keys["lr_config.warmup_iters"] or 0


def _rate_of_3(keys: SourceKeys, length: TrainingLength) -> _Rate:
    """Return the course of a warm-up and one other scheduler; of several others none is taken."""
    schedulers = dict(enumerate(keys.items_of("param_scheduler")))
    starts = {f"param_scheduler.{number}.": scheduler for number, scheduler in schedulers.items()}
    if keys.is_given("param_scheduler.type"):  # one alone
        starts = {"param_scheduler.": keys.section("param_scheduler")}
    warmups = {start: scheduler for start, scheduler in starts.items() if scheduler.get("type") == "LinearLR"}
    others = {start: scheduler for start, scheduler in starts.items() if start not in warmups}
    rate = _Rate([])
    for start, scheduler in warmups.items():
        rate = rate._replace(warmup=_warmup_of_3(keys, start, scheduler))
    for start, scheduler in others.items():
        kind, is_by_epoch = str(scheduler.get("type")), scheduler.get("by_epoch", True)
        total = length.in_units(is_by_epoch)
        if len(others) > 1 or kind not in _ARGUMENTS:
            keys.name_left(f"{start}type")
        elif kind == "CosineAnnealingLR" and _is_whole(keys, start, scheduler, total, rate.warmup):
            rate = rate._replace(is_cosine=True)
        elif kind == "MultiStepLR" and _is_whole(keys, start, scheduler, total, 0):
            rate = rate._replace(milestones=scheduler.get("milestones", []), is_by_epoch=is_by_epoch)
    return rate


def _warmup_of_3(keys: SourceKeys, start: str, scheduler: dict[str, Any]) -> int:
    if scheduler.get("by_epoch", True):
        keys.name_left_value(f"{start}by_epoch", True)
        return 0
    if _name_others(keys, start, scheduler):
        return 0
    if scheduler.get("start_factor") != _WARMUP_RATIO:
        keys.name_left_value(f"{start}start_factor", _USUAL_WARMUP_3)
    if not scheduler.get("end"):
        keys.name_left(f"{start}end")
    return scheduler.get("end") or 0


def _is_whole(keys: SourceKeys, start: str, scheduler: dict[str, Any], total: int | None, warmup: int) -> bool:
    """Tell whether a scheduler spans the training; what says otherwise is named.

    Args:
        keys: where it is named.
        start: start of the keys of the scheduler.
        scheduler: its arguments.
        total: length of the training in the units of the scheduler; None if it has others.
        warmup: iterations of the warm-up, behind which a cosine may begin.
    """
    begins = (None, 0) if scheduler.get("by_epoch", True) else (None, 0, warmup)
    begin = scheduler.get("begin") or 0
    ends = {"begin": begins, "end": (None, total), "T_max": (None, total, (total or 0) - begin)}
    is_whole = not _name_others(keys, start, scheduler)
    for name, allowed in ends.items():
        value: Any = scheduler.get(name)
        if value not in allowed and not (name == "end" and total and value > total):
            keys.name_left(f"{start}{name}")
            is_whole = False
    return is_whole


def _name_others(keys: SourceKeys, start: str, scheduler: dict[str, Any]) -> bool:
    """Name the arguments that ours have not, or have by other values; tell whether there are any but a factor."""
    known = _ARGUMENTS[str(scheduler["type"])]
    others = [
        name
        for name, value in scheduler.items()
        if name not in _WITHOUT_EFFECT and (name not in known or (known[name] and value not in (*known[name], None)))
    ]
    for name in others:
        keys.name_left(f"{start}{name}")
    return bool(others)
