"""Silence about what torch logs and warns of while it exports and opens files."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def quietly(levels: Mapping[str, int]) -> Iterator[None]:
    """Show no warnings, and of some loggers only what is at least as severe as given.

    Args:
        levels: name of a logger -> lowest level that it shows.
    """
    loggers = {logging.getLogger(name): level for name, level in levels.items()}
    before = {logger: logger.level for logger in loggers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger, level in loggers.items():
                logger.setLevel(level)
            yield
        finally:
            for logger, level in before.items():
                logger.setLevel(level)
