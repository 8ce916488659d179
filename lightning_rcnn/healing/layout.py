"""How many ranks train on how many nodes, and with how large a batch each."""

from typing import NamedTuple


class Layout(NamedTuple):
    """Ranks that train together.

    Attributes:
        nodes: number of nodes.
        ranks: ranks of each node.
        batch_size: images of a rank's batch.
    """

    nodes: int
    ranks: int
    batch_size: int

    @property
    def global_batch_size(self) -> int:
        """Images of all ranks' batches together."""
        return self.nodes * self.ranks * self.batch_size


def with_nodes(whole: Layout, nodes: int) -> Layout:
    """Return the layout on so many nodes: the global batch stays, and as many ranks as divide it evenly take part.

    So steps, epochs and schedules stay what they are, and each sample of an epoch is in one step. Of two layouts with
    equally many ranks, that on more nodes is taken.

    Args:
        whole: layout on all nodes that are wanted.
        nodes: number of nodes that are left, at least 1; more than wanted are spare.
    """
    size = whole.global_batch_size
    choices = ((some, each) for some in range(1, min(nodes, whole.nodes) + 1) for each in range(1, whole.ranks + 1))
    fitting = [(some * each, some, each) for some, each in choices if size % (some * each) == 0]
    number, some, each = max(fitting)
    return Layout(some, each, size // number)
