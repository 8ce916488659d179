"""Pause Python's search for cycles while much is allocated that stays."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collection() -> Iterator[None]:
    """Pause the search for cycles of objects, which walks over all of them again and again while they grow in number.

    For code that builds many objects without cycles, such as the content of a JSON file; what is not used any more is
    freed all the same. It is a decorator, too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def frozen_objects() -> Iterator[None]:
    """Leave the objects that exist now out of the search for cycles, which goes on for those that come.

    For long work over a list of many objects, such as the items of a data set.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
