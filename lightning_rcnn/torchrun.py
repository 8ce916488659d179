"""torch's `torchrun` with an exit status that says how the training ended: `python -m lightning_rcnn.torchrun`.

It takes torchrun's words. Torchrun itself exits with 1 both when the ranks have saved and want to be started again, and
when something is wrong; whoever starts the nodes (Kubernetes, systemd, a loop in a shell) needs to know which:

| exit status | what happened | what to do |
|---|---|---|
| 0 | the training is complete | |
| 75 | a node was asked to stop (TERM), and its ranks have saved | start it again |
| 130 | Ctrl-C | |
| 1 | anything else; a rank has said what | look at it first |
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning_rcnn.stop_signals import EXIT_STATUS, INTERRUPTED

SHUTDOWN_TIMEOUT = 180
"""Seconds that ranks have to save after TERM before torchrun kills them; its own 30 s are less than W&B may take."""


def main(words: list[str] | None = None) -> int:
    """Run torchrun.

    Args:
        words: words of torchrun; by default those of this process.

    Returns:
        The exit status.
    """
    with _leaving_on_term():
        return _run(words)


def _run(words: list[str] | None) -> int:
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_TIMEOUT))
    from torch.distributed.elastic.multiprocessing.api import SignalException, SubprocessContext
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    arguments = parse_args(words)
    if arguments.max_restarts:
        print(
            f"lightning-rcnn: error: --max-restarts {arguments.max_restarts} would start ranks that have saved again, "
            "beside a node that is leaving; leave it out, and start all nodes again after exit status 75",
            file=sys.stderr,
        )
        return 1
    statuses: list[int | None] = []
    try:
        with _noting_statuses(SubprocessContext, statuses):
            run(arguments)
    except SignalException as stop:
        if stop.sigval == signal.SIGINT:
            return INTERRUPTED
        # TERM itself ends only ranks that do not listen yet, and so have nothing to save.
        failed = [status for status in statuses if status not in (0, EXIT_STATUS, -signal.SIGTERM)]
        if not failed:
            return EXIT_STATUS
        print(f"lightning-rcnn: asked to stop, a rank has not saved but ended with {failed[0]}", file=sys.stderr)
        return 1
    except ChildFailedError as error:
        if all(failure.exitcode == EXIT_STATUS for failure in error.failures.values()):
            return EXIT_STATUS
        rank, failure = error.get_first_failure()
        print(f"lightning-rcnn: rank {rank} ended first of its node, with status {failure.exitcode}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _noting_statuses(context: Any, statuses: list[int | None]) -> Iterator[None]:
    """Append the exit status of each rank of this node when torchrun has ended them after a signal.

    Torchrun raises the signal then, and says nothing of its ranks. `context` is its class of a node's processes.
    """
    close = context.close

    def noting(self: Any, *arguments: Any, **keywords: Any) -> None:
        close(self, *arguments, **keywords)
        statuses.extend(handler.proc.returncode for handler in self.subprocess_handlers.values())

    context.close = noting
    try:
        yield
    finally:
        del context.close  # the one that it inherits is back


@contextmanager
def _leaving_on_term() -> Iterator[None]:
    """Exit on TERM until torchrun listens itself, which it does from the start of its ranks on: nothing is lost before.

    Until then it mostly waits for other nodes in C++, where no handler of Python runs, so a thread watches, too.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # as `set_wakeup_fd` requires
    signal.signal(signal.SIGTERM, _leave)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reader,), daemon=True, name="TERM before the ranks")
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        watch.join()
        os.close(reader)


def _watch(reader: int) -> None:
    while number := os.read(reader, 1):
        if number[0] == signal.SIGTERM and signal.getsignal(signal.SIGTERM) is _leave:
            os._exit(EXIT_STATUS)


def _leave(*_: object) -> None:
    os._exit(EXIT_STATUS)


if __name__ == "__main__":
    sys.exit(main())
