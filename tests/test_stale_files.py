"""Files that others replace on a network file system, whose errors a function raises here."""

import errno
import os

import pytest

from lightning_rcnn import stale_files
from lightning_rcnn.errors import InputError, PassingError
from lightning_rcnn.stale_files import is_stale, read_past_stale


def stale():
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


class Reading:
    """Fails so often, and says how often it was called."""

    def __init__(self, failures, error):
        self.calls, self._failures, self._error = 0, failures, error

    def __call__(self):
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return "content"


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def test_a_stale_file_is_read_again_by_its_name(waited):
    reading = Reading(2, stale())
    assert read_past_stale(reading, "last.ckpt") == "content"
    assert waited == [stale_files.PAUSE] * 2


def test_a_file_that_stays_stale_asks_for_another_start(waited):
    reading = Reading(stale_files.ATTEMPTS, stale())
    with pytest.raises(PassingError, match=r"last.ckpt: another process has replaced it"):
        read_past_stale(reading, "last.ckpt")
    assert reading.calls == stale_files.ATTEMPTS


def test_other_errors_are_raised_at_once(waited):
    reading = Reading(1, PermissionError(errno.EACCES, "no"))
    with pytest.raises(PermissionError):
        read_past_stale(reading, "last.ckpt")
    assert (reading.calls, waited) == (1, [])


def test_an_error_that_a_stale_handle_led_to_counts():
    error = InputError("last.ckpt: not a readable torch file")
    error.__cause__ = stale()
    assert is_stale(error)
    assert not is_stale(InputError("last.ckpt: not a readable torch file"))
