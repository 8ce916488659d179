"""The command `python -m lightning_rcnn.healing`, on each node.

| exit status | what happened |
|---|---|
| 0 | the training is complete |
| 75 | TERM or USR1: the ranks have saved; the same command resumes |
| 130 | Ctrl-C |
| 1 | wrong input, ranks that hang, or ranks that are lost again and again before a step is done; a line says which |
"""

import os
import signal
import sys

from lightning_rcnn.stop_signals import EXIT_STATUS, SIGNALS


def leave_on_signals() -> None:
    """End this process on a signal from now on, at once: there is nothing yet that could be saved or removed.

    An exception might be lost in one of the imports that follow, which take seconds.
    """
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(EXIT_STATUS))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


if __name__ == "__main__":
    leave_on_signals()
    from lightning_rcnn.healing.command import main

    sys.exit(main())
