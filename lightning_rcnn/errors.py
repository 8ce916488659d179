"""Exceptions whose message is for the user."""

import re
from importlib.util import find_spec

_LONG_WORD = re.compile(r"(\S{160})\S{140,}(\S{60})")
"""A word longer than a file name and than nearly all paths."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that would break the line or steer the terminal; names of files may have them."""


class InputError(Exception):
    """A user's input is wrong: a file, a sample, a configuration key.

    The message is one line: where, what is wrong, what to do.
    The command line prints it without a traceback and exits with status 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shorten_words(_CONTROL.sub(_escaped, message)))


class PassingError(InputError):
    """An input is wrong now, and may be right at the next start, such as a file that a file server shows too late.

    A launcher that starts ranks again (`lightning_rcnn/healing`) does so; elsewhere it is like an `InputError`.
    """


class LostRankError(Exception):
    """A training of several ranks ended because one rank was lost.

    The message is one line that names the rank; it is empty if another rank prints it. The command line treats it like
    an `InputError`.
    """


def _escaped(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode()


def shorten_words(text: str) -> str:
    """Cut the middle of words of 360 letters or more: a name from a broken file can fill the screen."""
    return _LONG_WORD.sub(r"\1...\2", text)


def require_extra(package: str, extra: str, who: str) -> None:
    """Check that the package of an extra is installed.

    Args:
        package: import name of the package.
        extra: name of the extra in `pyproject.toml`.
        who: what needs it, the beginning of the message.

    Raises:
        InputError: it is not; the message says how to install it.
    """
    if find_spec(package) is None:
        raise InputError(
            f"{who}: the package {package} is missing; install it with pip install 'lightning-rcnn[{extra}]'"
        )
