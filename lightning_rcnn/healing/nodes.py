"""The nodes of a training, as they are given or as SLURM has them."""

import socket
import subprocess
from collections.abc import Mapping

from lightning_rcnn.errors import InputError
from lightning_rcnn.healing.network import Address

_PORTS = range(20000, 30000)
"""Of which the id of a SLURM job gives its launchers one."""
_LAST_PORT = 65535
_TIMEOUT = 30.0  # seconds for SLURM to answer


def given_nodes(given: str | None, environment: Mapping[str, str]) -> list[Address]:
    """Return the addresses of all launchers: as given, else those of the SLURM job, else this machine alone.

    Args:
        given: HOST:PORT,HOST:PORT,...; None if nothing is given.
        environment: variables of this process.

    Raises:
        InputError: this is no list of addresses, or SLURM does not tell.
    """
    if given is not None:
        return [_address(text) for text in given.split(",")]
    names = environment.get("SLURM_JOB_NODELIST")
    if names is None or environment.get("SLURM_JOB_NUM_NODES", "1") == "1":
        return [Address("127.0.0.1", 0)]
    try:
        command = ["scontrol", "show", "hostnames", names]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"SLURM does not tell the nodes of its job ({error}): give --nodes HOST:PORT,...") from error
    port = _PORTS[int(environment["SLURM_JOB_ID"]) % len(_PORTS)]
    return [Address(host, port) for host in answer.stdout.split()]


def number_of_this(addresses: list[Address], given: int | None, environment: Mapping[str, str]) -> int:
    """Return the number of this node: as given, else the one whose host has its name.

    Raises:
        InputError: there is no such node, or several have the name.
    """
    if given is not None:
        if not 0 <= given < len(addresses):
            raise InputError(f"--node {given}: --nodes has {len(addresses)}, the first one is 0")
        return given
    if len(addresses) == 1:
        return 0
    names = {environment.get("SLURMD_NODENAME"), socket.gethostname(), socket.getfqdn()}
    found = [number for number, address in enumerate(addresses) if address.host in names]
    if len(found) != 1:
        hosts = ", ".join(address.host for address in addresses)
        raise InputError(f"which of the nodes {hosts} is {socket.gethostname()}? Give --node, 0-based")
    return found[0]


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
        raise InputError(f"--nodes: {text!r} is not HOST:PORT, with a port from 1 to {_LAST_PORT}")
    return Address(host, int(port))
