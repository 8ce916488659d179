"""Time of training steps and of waiting for data."""

from time import perf_counter


class StepClock:
    """Adds up images, seconds of steps and seconds of waiting until `reset`.

    It uses the clock of the host, which on CUDA runs ahead of the device. The host pauses when the device's queue is
    full, so the rate is right on average, and nothing here waits for the device.

    Attributes:
        images: number of images since the last reset, on this rank.
        seconds: seconds of their steps, waiting included.
        waiting: seconds between the end of a step and the arrival of the next batch.
    """

    def __init__(self) -> None:
        self._last_step_end = self._step_start = 0.0
        self._was_interrupted = False
        self.reset()

    def reset(self) -> None:
        """Set all sums to zero."""
        self.images, self.seconds, self.waiting = 0, 0.0, 0.0

    def wait(self) -> None:
        """Start to wait for the next batch."""
        self._last_step_end, self._was_interrupted = perf_counter(), False

    def interrupt(self) -> None:
        """Leave out the time until the next step."""
        self._was_interrupted = True

    def start_step(self) -> None:
        """Stop waiting: a batch has arrived."""
        self._step_start = perf_counter()
        if not self._was_interrupted:
            self.waiting += self._step_start - self._last_step_end
            self.seconds += self._step_start - self._last_step_end
        self._was_interrupted = False

    def end_step(self, images: int) -> None:
        """End a step of so many images."""
        self._last_step_end = perf_counter()
        self.seconds += self._last_step_end - self._step_start
        self.images += images
