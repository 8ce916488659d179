"""Frozen layers of a network."""

from collections.abc import Sequence
from typing import Self

from torch import nn


class Freezable(nn.Module):
    """Base of networks with frozen layers, which are not trained.

    They stay in evaluation mode: statistics of norms do not change, and no path is dropped.
    """

    _frozen: Sequence[nn.Module] = ()

    def freeze(self, layers: Sequence[nn.Module]) -> None:
        """Freeze layers of this network, beside those that are frozen already, such as by a base class."""
        self._frozen = [*self._frozen, *layers]
        for layer in layers:
            layer.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all layers that are not frozen."""
        super().train(mode)
        for layer in self._frozen:
            layer.eval()
        return self
