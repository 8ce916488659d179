"""Ranks that start again when one of them, or a node, is lost: `python -m lightning_rcnn.healing --ranks 8 fit ...`.

The job continues: no queue, no new process of a launcher, no import, no second reading of configuration and data. The
launcher of a node forks a process that does all that ranks have in common (`cli/forking.py`), and this forks the ranks.
Rank 0 keeps a checkpoint in the memory of its machine (`callbacks/memory_checkpoint.py`), and another node has a copy.
When a rank is killed or fails, all ranks are ended and forked again, and resume from that checkpoint with the next
batch. Since resuming is exact, the training ends as one that was not disturbed.

When a node is lost, the others do the same with fewer ranks, but with the same global batch (`layout.py`); when its
launcher is started again, it takes part from the next checkpoint on. One launcher leads: it decides what all nodes do
(`leader.py`). If its node is lost, the first of the others leads (`network.py`).

torchft 0.2 lets the other ranks go on, but only what passes through its manager heals: Lightning's loops have no second
attempt at a step, a trainer's world has one size, and counts, metrics, flags and validations of ours use torch's own
process group. Its peers also send weights without the position in the data.
"""

import sys


def say(line: str) -> None:
    """Print a line for the user."""
    print(f"lightning-rcnn: {line}", file=sys.stderr, flush=True)
