"""What a launcher does: it reads its options, imports what ranks need, and runs until the training has ended."""

import argparse
import asyncio
import hashlib
import importlib
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from lightning_rcnn.errors import InputError
from lightning_rcnn.healing import memory, say
from lightning_rcnn.healing.launcher import Launcher
from lightning_rcnn.healing.layout import Layout
from lightning_rcnn.healing.nodes import given_nodes, number_of_this
from lightning_rcnn.lightning_messages import hush_torch
from lightning_rcnn.stop_signals import EXIT_STATUS, SIGNALS


def launcher_parser() -> argparse.ArgumentParser:
    """Return the parser of the launcher's options, and of the command behind them."""
    parser = argparse.ArgumentParser("python -m lightning_rcnn.healing", allow_abbrev=False)
    parser.add_argument("--ranks", type=int, required=True, help="processes of a node, one for each device")
    parser.add_argument("--every_n_steps", type=int, default=10, help="steps between two checkpoints in memory")
    parser.add_argument(
        "--nodes",
        help="HOST:PORT,HOST:PORT,... where the launchers of all nodes listen, the same on each; by default the nodes "
        "of the SLURM job, or this machine alone",
    )
    parser.add_argument("--node", type=int, help="number of this node in --nodes, 0-based; by default by its host name")
    parser.add_argument("--spares", type=int, default=0, help="nodes, of those, that wait for the loss of another one")
    parser.add_argument("command", choices=["fit"])
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of the command")
    return parser


def main(words: list[str] | None = None) -> int:
    """Run a command of the training on several ranks, and heal it.

    Args:
        words: options of this launcher, then the command and its options; by default those of this process.

    Returns:
        The exit status.
    """
    parser = launcher_parser()
    given = parser.parse_args(words)
    if given.ranks < 1 or given.every_n_steps < 1:
        parser.error("--ranks and --every_n_steps: at least 1")
    try:
        addresses = given_nodes(given.nodes, os.environ)
        own = number_of_this(addresses, given.node, os.environ)
        if not 0 <= given.spares < len(addresses):
            raise InputError(f"--spares {given.spares}: of {len(addresses)} nodes at least one has to train")
    except InputError as error:
        say(f"error: {error}")
        return 1
    _import_for_all_processes()
    command = [given.command, *given.options]
    token = token_of([addresses, given.ranks, given.spares, given.every_n_steps, command], given.options)
    for number in SIGNALS:  # from now on there is a folder to remove; until there are ranks that could save
        signal.signal(number, lambda *_: sys.exit(EXIT_STATUS))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the launcher runs
    whole = Layout(len(addresses) - given.spares, given.ranks, 0)
    with memory.memory_folder(memory.place_for_folder()) as folder:

        async def run() -> int:
            return await Launcher(addresses, own, token, whole, command, folder, given.every_n_steps).run()

        return asyncio.run(run())


def token_of(words: list[Any], options: list[str]) -> str:
    """Return text that launchers have only with the same words and the same content of the configuration files.

    Launchers with others would lead to ranks with other settings, which are refused, and end the training of all.

    Args:
        words: what the launchers were started with, as plain data.
        options: options of the command, of which some may name files.
    """
    from lightning_rcnn.cli.composing import compose, take_config_files

    try:
        content = compose(take_config_files(options)[0]).content
    except InputError:  # which the command itself says
        content = {}
    identity = json.dumps([words, content], default=str)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _import_for_all_processes() -> None:
    """Import once what each process to come would import.

    The latter ones are those that Lightning imports, where they are installed, while a training begins.
    """
    hush_torch()
    from lightning_rcnn.cli import training  # noqa: F401

    for name in ("torch.distributed.algorithms.ddp_comm_hooks", "torch.utils.serialization", "adlfs", "gcsfs", "s3fs"):
        with suppress(ImportError):
            importlib.import_module(name)
