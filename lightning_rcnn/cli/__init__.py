"""The command line: `lightning-rcnn COMMAND`.

Exit status: 0; 1 after an error (wrong input gives one line with what and where); 130 after Ctrl-C, or a stop on W&B's
page; 75 after a training was asked to stop and has saved. Of ranks that a launcher starts again, 70 asks for that.
"""

import atexit
import gc
import importlib
import os
import signal
import sys
import traceback

from lightning_rcnn import __version__, stop_signals
from lightning_rcnn.cli.one_voice import say
from lightning_rcnn.cli.other_names import command_for
from lightning_rcnn.cli.registry import GROUPS, TOOLS, TRAINING, help_text
from lightning_rcnn.errors import InputError, LostRankError, PassingError
from lightning_rcnn.files import FULL
from lightning_rcnn.launchers import healing_job, outlives_its_launcher, waits_for_nobody
from lightning_rcnn.lightning_messages import hush_torch
from lightning_rcnn.requeue import requeue
from lightning_rcnn.stale_files import is_stale

DEBUG_VARIABLE = "LIGHTNING_RCNN_DEBUG"


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: words after `lightning-rcnn`; by default those of this process.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    atexit.register(gc.freeze)  # or the interpreter would look for cycles among half a million objects as it ends
    _find_modules_here()
    debug = "--debug" in words or bool(os.environ.get(DEBUG_VARIABLE))
    if not debug:
        hush_torch()
    try:
        return _dispatch([word for word in words if word != "--debug"])
    except (InputError, LostRankError) as error:
        if debug:
            traceback.print_exc()
        say(f"lightning-rcnn: error: {error}" if str(error) else "")
        return os.EX_SOFTWARE if isinstance(error, PassingError) and healing_job(os.environ) else 1
    except stop_signals.Preempted as stop:
        stop_signals.ignore()
        if str(stop):
            print(f"lightning-rcnn: {stop}", file=sys.stderr, flush=True)
        return stop.status
    except stop_signals.StoppedBeforeTraining:
        stop_signals.ignore()
        status = stop_signals.stopped_for_good()
        what_next = requeue() if status is None else "it resumes with --ckpt_path last"
        reason = f"stopped by {stop_signals.received()}, before the first step"
        print(f"lightning-rcnn: {reason}; {what_next}", file=sys.stderr, flush=True)
        return stop_signals.EXIT_STATUS if status is None else status
    except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        is_full = error.errno in FULL
        if debug or (error.filename is None and not is_full):
            raise
        way_out = "make room and start again; --debug shows where" if is_full else "--debug shows where"
        say(f"lightning-rcnn: error: {error.filename or 'a file'}: {error.strerror} ({way_out})")
        return os.EX_SOFTWARE if is_stale(error) and healing_job(os.environ) else 1
    except KeyboardInterrupt:
        print("lightning-rcnn: interrupted", file=sys.stderr)
        return stop_signals.INTERRUPTED


def _find_modules_here() -> None:
    """Let class paths name modules of the working directory, as with `python -m`; installed modules come first."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)


def _dispatch(words: list[str]) -> int:
    first, *rest = words or [""]
    if first in ("", "-h", "--help"):
        print(help_text())
        return 0 if first else 1
    if first == "--version":
        print(f"lightning-rcnn {__version__}")
        return 0
    if first.partition("=")[0] == "--print_shtab":
        from lightning_rcnn.cli.completion import completion_script

        print(completion_script(first.partition("=")[2] or " ".join(rest)))
        return 0
    if first in TRAINING:
        if first == "fit":
            stop_signals.listen()
            if outlives_its_launcher(os.environ):
                stop_signals.send_at_end_of_parent(signal.SIGTERM)
        # Imported here, as the tools below: Lightning takes seconds to import, which help does not need.
        from lightning_rcnn.cli.world import take_sizes_from_launcher

        if first != "show":
            words = take_sizes_from_launcher(words)
        if first == "fit" and waits_for_nobody(os.environ):
            stop_signals.stop_at_once()
        from lightning_rcnn.cli.training import train

        train(words)
        return 0
    name = first
    if first in GROUPS:
        if rest[:1] in ([], ["-h"], ["--help"]):
            print(help_text(first))
            return 0 if rest else 1
        name, rest = f"{first} {rest[0]}", rest[1:]
    if name not in TOOLS:
        raise InputError(
            f"{name}: no such command{command_for(name, [*TRAINING, *TOOLS, *GROUPS])} (see lightning-rcnn --help)"
        )
    from lightning_rcnn.cli.tools import run_tool

    tool = TOOLS[name]
    run_tool(name, getattr(importlib.import_module(tool.module), tool.function), rest)
    return 0
