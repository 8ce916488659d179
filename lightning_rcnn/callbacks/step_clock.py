"""The time of training steps, and how much of it goes into waiting for data."""

from time import perf_counter


class StepClock:
    """Adds up images, seconds of steps and seconds of waiting, until it is read.

    Clocks are those of the host, which on CUDA runs ahead of the device: it pauses where the device's queue is full, so
    that the rate is right on average, and nothing here makes it wait.

    Attributes:
        images: of the steps since the last reading, on this rank.
        seconds: of these steps and of the waiting for them.
        waiting: of the seconds, those between the end of a step and the arrival of the next batch.
    """

    def __init__(self) -> None:
        self._last_step_end = self._step_start = 0.0
        self._was_interrupted = False
        self.reset()

    def reset(self) -> None:
        """Forget what has been added up."""
        self.images, self.seconds, self.waiting = 0, 0.0, 0.0

    def wait(self) -> None:
        """The next batch is waited for from here."""
        self._last_step_end, self._was_interrupted = perf_counter(), False

    def interrupt(self) -> None:
        """The time until the next step does not count."""
        self._was_interrupted = True

    def start_step(self) -> None:
        """A batch has arrived."""
        self._step_start = perf_counter()
        if not self._was_interrupted:
            self.waiting += self._step_start - self._last_step_end
            self.seconds += self._step_start - self._last_step_end
        self._was_interrupted = False

    def end_step(self, images: int) -> None:
        """The batch is done."""
        self._last_step_end = perf_counter()
        self.seconds += self._last_step_end - self._step_start
        self.images += images
