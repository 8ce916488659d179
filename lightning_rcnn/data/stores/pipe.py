"""Files that a command prints."""

import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator

from lightning_rcnn.data.stores.addresses import PIPE
from lightning_rcnn.data.stores.transfer import NoRangesError, Span, TransferError

_CHUNK = 1 << 20
_NO_SUCH_COMMAND = {126, 127}  # exit statuses of a shell


def receive(address: str, timeout: float, span: Span | None = None) -> Iterator[bytes]:
    """Yield the output of a command.

    Raises:
        NoRangesError: a part is asked for.
        TransferError: the command failed, or `timeout` seconds went by without a byte.
    """
    if span is not None:
        raise NoRangesError
    command = address.removeprefix(PIPE)
    with tempfile.TemporaryFile() as errors:
        # The command gets its own session, so that killing the group also ends the shell's children.
        process = subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        assert process.stdout is not None
        try:
            while chunk := _read(process.stdout.fileno(), timeout):
                yield chunk
            status = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TransferError(f"did not end in {timeout:g} s") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
        if status != 0:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            raise TransferError(
                f"exit status {status}: {lines[-1] if lines else 'no message'}", status in _NO_SUCH_COMMAND
            )


def _read(descriptor: int, timeout: float) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    if not poll.poll(timeout * 1000):
        raise TransferError(f"no byte in {timeout:g} s")
    return os.read(descriptor, _CHUNK)
