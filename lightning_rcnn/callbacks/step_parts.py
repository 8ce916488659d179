"""The parts of a training step in seconds, as Lightning's simple profiler times them."""

import math

from lightning.pytorch.profilers import Profiler, SimpleProfiler

_STEP = "run_training_batch"
"""Lightning's name of a whole step, without the wait for its batch."""
_STRATEGY = "[Strategy]"


class StepParts:
    """Reads what the profiler of `--trainer.profiler simple` has recorded since it was last read."""

    def __init__(self) -> None:
        self._num_read: dict[str, int] = {}

    def read(self, profiler: Profiler) -> dict[str, float]:
        """Return the mean seconds of a step and of its parts; nothing with another profiler, or without a step.

        Returns:
            `profile/step_seconds`, of which `profile/forward_seconds` and `profile/backward_seconds`, and the rest in
            `profile/optimizer_seconds`: optimizer, clipping and hooks.
        """
        if not isinstance(profiler, SimpleProfiler):
            return {}
        steps = self._new(profiler, _STEP)
        named = {name.rpartition(".")[2]: name for name in profiler.recorded_durations if name.startswith(_STRATEGY)}
        forward, backward = (
            math.fsum(self._new(profiler, named.get(hook, ""))) for hook in ("training_step", "backward")
        )
        if not steps:
            return {}
        whole = math.fsum(steps)
        parts = {"step": whole, "forward": forward, "backward": backward, "optimizer": whole - forward - backward}
        return {f"profile/{part}_seconds": seconds / len(steps) for part, seconds in parts.items()}

    def _new(self, profiler: SimpleProfiler, name: str) -> list[float]:
        durations = profiler.recorded_durations.get(name, [])
        first, self._num_read[name] = self._num_read.get(name, 0), len(durations)
        return durations[first:]
