"""Know the sample that a loader's worker was reading when it died, from memory that outlives the worker."""

import torch
from torch.utils.data import get_worker_info

_NO_SAMPLE = -1


class CurrentSamples:
    """Numbers of the last samples that the workers of a loader began to read."""

    def __init__(self, num_workers: int) -> None:
        self._numbers = torch.full((num_workers,), _NO_SAMPLE).share_memory_()

    def note(self, number: int) -> None:
        """Record, in a worker, the sample that it reads now."""
        worker = get_worker_info()
        if worker is not None:
            self._numbers[worker.id] = number

    def of_worker(self, worker: int) -> int | None:
        """Return the number of a worker's last sample; None before its first."""
        number = int(self._numbers[worker])
        return None if number == _NO_SAMPLE else number
