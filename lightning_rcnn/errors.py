"""The exceptions that are meant for the person at the keyboard."""

import re

_LONG_WORD = re.compile(r"(\S{160})\S{140,}(\S{60})")
"""Longer than a file name can be, and than nearly all paths."""


class InputError(Exception):
    """Something given from outside is wrong: a file, a sample, a config key.

    The message is one line that names the thing, says what is wrong with it and what to do.
    The command line prints it without a traceback and exits with status 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shorten_words(message))


class LostRankError(Exception):
    """A training of several ranks ended because one of them did.

    The message is one line that names the rank, empty where another rank says it. The command line treats it as an
    `InputError`.
    """


def shorten_words(text: str) -> str:
    """Leave out the middle of words of 360 letters and more: a name from a broken file can fill a screen."""
    return _LONG_WORD.sub(r"\1...\2", text)
