"""What the leading launcher decides: which nodes train, from which checkpoint, when to start again, and how it ends.

It knows no processes and no network. Messages come in by `handle` and go out by `send`:

| from a node | to a node |
|---|---|
| `stopped`: it has no ranks; step, free port, signal that it got | `start`: start ranks, see `Leader._start` |
| `rank`: a rank has ended with this status | `stop`: end all ranks, and say `stopped` |
| `failed`: it cannot start its ranks | `copy`: get the checkpoint from this node |
| `saved`: its rank 0 has written a checkpoint | `present`: so many nodes are here, spare ones included |
| `copied`: it has a copy of one | `signal`: pass this signal to its ranks |
| `asked`: it got this signal, and has no ranks | `end`: end with this status |
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning_rcnn.healing import say
from lightning_rcnn.healing.layout import Layout, with_nodes
from lightning_rcnn.stop_signals import EXIT_STATUS, INTERRUPTED

ATTEMPTS = 3
"""Times that ranks may be lost without a step between."""
STARTS = 2
"""Times that a node may fail to start its ranks, without a step between, before it is left out."""
LAST_WORDS = 30.0
"""Seconds that ranks have to end by themselves after one of them has ended."""


@dataclass
class _Member:
    step: int
    port: int
    asked: int | None = None  # the signal that asked it to stop
    is_running: bool = False
    failed_starts: int = 0


class Leader:
    """Decides for all nodes.

    Args:
        own: number of the node that leads.
        whole: layout on all nodes.
        send: sends a message to a node.
        awaited: number of nodes that the first start waits for.
        until: time at which it waits no longer.
        reason: why ranks start again, if this leader follows another one.

    Attributes:
        status: exit status of all launchers; None while the training goes on.
    """

    def __init__(
        self,
        own: int,
        whole: Layout,
        send: Callable[[int, dict[str, Any]], None],
        awaited: int,
        until: float,
        reason: str = "",
    ) -> None:
        self._own, self._whole, self._send = own, whole, send
        self._awaited, self._until = awaited, until
        self._members: dict[int, _Member] = {}
        self._order: list[int] = []  # nodes of the ranks that run, or were the last to do so
        self._layout = whole
        self._is_running = False
        self._statuses: dict[int, int] = {}  # of ranks that have ended by themselves
        self._over_by: float | None = None
        self._reasons = [reason] if reason else []  # why ranks start again
        self._step, self._losses = -2, 0  # of the last start, and how often ranks were lost after it without another
        self.status: int | None = None

    def handle(self, node: int, message: dict[str, Any], now: float) -> None:
        """Take a message of a node, which may be its first one: `stopped`."""
        kind = message["kind"]
        if kind == "stopped":
            before = self._members.get(node)
            failed_starts = 0 if before is None else before.failed_starts
            self._members[node] = _Member(message["step"], message["port"], message["asked"], False, failed_starts)
            if before is None:
                self._tell_number()
                if self._is_running:
                    say(f"node {node} is here")  # and takes part after the next checkpoint, or is spare
                self._obey(node)
            self.tick(now)
        elif node in self._members and kind == "failed":  # also while others end: several nodes may be broken
            self._note_failed_start(node)
        elif node in self._members and kind == "asked":
            self._members[node].asked = message["number"]
            self._obey(node)
        elif node in self._members and kind == "copied":  # a node without ranks does not say `stopped` before a start
            self._members[node].step = message["step"]
        elif node not in self._members or not self._is_running:
            return  # of ranks that are being ended
        elif kind == "saved":
            self._members[node].step = message["step"]
            for each in self._order:
                self._members[each].failed_starts = 0
            self._take_in_or_copy(node)
        elif kind == "rank":
            self._note_end(message["rank"], message["status"], now)

    def leave(self, node: int, now: float) -> None:
        """Note that a node is gone."""
        if self._members.pop(node, None) is None or self.status is not None:
            return
        self._tell_number()
        if node in self._order:
            self._lose(f"node {node} is gone")
        else:
            say(f"node {node}, which did not take part, is gone")
        self.tick(now)

    def tick(self, now: float) -> None:
        """Do what time has come for."""
        if self.status is not None:
            return
        if self._is_running:
            if self._over_by is not None and now > self._over_by:
                self._finish()
        elif self._members and not any(member.is_running for member in self._members.values()):
            self._start_if_gathered(now)

    def _start_if_gathered(self, now: float) -> None:
        if self._order or len(self._members) >= self._awaited or now > self._until:
            self._start()

    def _start(self) -> None:
        """Start ranks on the nodes that are here, the first ones if not all are needed.

        Nodes get: `order` of the nodes, the layout (`ranks` of each, `batch_size`), the `master` node and its `port`,
        and `source`, the node with the checkpoint of `step` from which all resume.
        """
        nodes = self._able()
        source = max([*nodes, *self._members], key=lambda node: self._members[node].step)
        step = self._members[source].step
        if step != self._step:
            self._step, self._losses = step, 0
        reason = "; ".join(self._reasons)
        if self._losses > ATTEMPTS or not nodes:
            times = f"{self._losses} times after step {step}" if nodes else "and no other node is left"
            say(f"error: {reason}, {times}: look at it; --ckpt_path last resumes")
            self._end(1)
            return
        layout = with_nodes(self._whole, len(nodes))
        if reason:
            say(f"{reason}; {_described(layout)} start again after step {max(step, 0)}")
        elif layout != self._whole:
            say(f"{len(nodes)} of {self._whole.nodes} nodes are here; {_described(layout)} start")
        self._layout, self._order = layout, nodes[: layout.nodes]
        self._statuses, self._reasons, self._over_by, self._is_running = {}, [], None, True
        for node in self._order:
            self._members[node].is_running = True
            self._send(
                node,
                {
                    "kind": "start",
                    "order": self._order,
                    "ranks": layout.ranks,
                    "batch_size": layout.batch_size,
                    "master": self._order[0],
                    "port": self._members[self._order[0]].port,
                    "source": source,
                    "step": step,
                },
            )

        for node in list(self._members):
            self._obey(node)

    def _obey(self, node: int) -> None:
        """Do what a node without ranks was asked to, if it was: a spare one ends, others stop all once ranks run.

        The leader cannot end alone then: the ranks of the others would be ended at once, and start again. Before
        anything is trained each ends alone, and the others wait for it to come back.
        """
        number = self._members[node].asked
        if number is None or not (self._is_running or self._is_untrained()):
            return
        if not self._is_running or (node not in self._order and node != self._own):
            self._send(node, {"kind": "end", "status": EXIT_STATUS})
            return
        for each in self._order:
            self._send(each, {"kind": "signal", "number": number})

    def _is_untrained(self) -> bool:
        return not self._order and all(member.step < 0 for member in self._members.values())

    def _able(self) -> list[int]:
        """Return the nodes that are here and not left out, in their order."""
        return sorted(node for node, member in self._members.items() if member.failed_starts < STARTS)

    def _note_failed_start(self, node: int) -> None:
        """Start again, without a node that failed before; this is no loss, of which a job has few."""
        member = self._members[node]
        member.failed_starts += 1
        self._reasons.append(f"node {node} cannot start its ranks")
        if member.failed_starts == STARTS:
            say(f"node {node} failed to start its ranks {STARTS} times: it is left out until its launcher starts again")
        self._stop()

    def _tell_number(self) -> None:
        """Tell all how many they are: if this leader is lost, the next one waits for so many."""
        for node in self._members:
            self._send(node, {"kind": "present", "nodes": len(self._members)})

    def _stop(self) -> None:
        if self._is_running:
            self._is_running = False
            for node in self._order:
                if node in self._members:
                    self._send(node, {"kind": "stop"})

    def _lose(self, what: str) -> None:
        self._reasons.append(what)
        if self._is_running:
            self._losses += 1
        self._stop()

    def _note_end(self, rank: int, status: int, now: float) -> None:
        if is_lost(status):
            self._lose(f"rank {rank} {_ending(status)}")
            return
        self._statuses[rank] = status
        if len(self._statuses) == self._layout.nodes * self._layout.ranks:
            self._finish()
        elif status not in (0, EXIT_STATUS) and self._over_by is None:  # after others may upload, or evaluate
            self._over_by = now + LAST_WORDS

    def _finish(self) -> None:
        self._end(next((status for _, status in sorted(self._statuses.items()) if status), 0))

    def _end(self, status: int) -> None:
        self.status = status
        for node in self._members:
            self._send(node, {"kind": "end", "status": status})

    def _take_in_or_copy(self, source: int) -> None:
        """Start again with nodes that have come back, now that nothing is lost by it, or else keep a second copy."""
        able = self._able()
        layout = with_nodes(self._whole, len(able))
        if layout.nodes * layout.ranks > self._layout.nodes * self._layout.ranks:
            self._reasons.append(f"{len(able)} of {self._whole.nodes} nodes are here")
            self._stop()
        elif others := [node for node in [*self._order, *able, *self._members] if node != source]:
            self._send(others[0], {"kind": "copy", "source": source})


def is_lost(status: int) -> bool:
    """Tell whether a rank was killed or failed; ranks that were asked to stop, or say what is wrong, are not lost."""
    return status < 0 or status not in (0, 1, 2, EXIT_STATUS, INTERRUPTED)


def _ending(status: int) -> str:
    return f"failed with status {status}" if status > 0 else f"was killed by {signal.Signals(-status).name}"


def _described(layout: Layout) -> str:
    if layout.nodes == 1:
        return f"{layout.ranks} ranks with {layout.batch_size} images each"
    return f"{layout.nodes} x {layout.ranks} ranks with {layout.batch_size} images each"
