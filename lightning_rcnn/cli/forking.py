"""The place in the start of a training up to which all its ranks do the same, where one process may become all of them.

Reading the configuration and the data and building the model take most of the start. A launcher whose ranks start again
and again (`lightning_rcnn/healing`) does this once, and forks its ranks at this place.
"""

from collections.abc import Callable

_forks: list[Callable[[int], None]] = []


def fork_ranks_by(fork: Callable[[int], None]) -> None:
    """Have ranks forked by a function: it gets the images of a rank's batch, and returns in ranks only."""
    _forks[:] = [fork]


def become_a_rank(batch_size: int) -> bool:
    """Return in each rank; at once if nothing forks them here.

    Args:
        batch_size: images of a rank's batch.

    Returns:
        Whether time may have passed: the process that forked this one has waited here, perhaps for hours.
    """
    if not _forks:
        return False
    _forks.pop()(batch_size)
    return True
