import copy

from torch import nn

from lightning_rcnn.backbones.freezing import Freezable
from lightning_rcnn.backbones.pyramid import PyramidBackbone


class Network(Freezable, PyramidBackbone):
    def __init__(self, frozen: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout()) for _ in range(3))
        self.freeze(self.blocks[:frozen])
        self.strides = (4, 8, 16)
        self.out_channels = 2


class FreezesMore(Network):
    def __init__(self) -> None:
        super().__init__(1)
        self.freeze(self.blocks[2:])


def trained(network: Network) -> list[bool]:
    """Which layers learn; all parts of a layer agree."""
    states = [
        {layer.training, *(part.training for part in layer), *(w.requires_grad for w in layer.parameters())}
        for layer in network.blocks
    ]
    assert all(len(state) == 1 for state in states)
    return [state.pop() for state in states]


def test_frozen_layers_stay_in_evaluation_mode():
    assert trained(Network(2).eval().train()) == [False, False, True]
    assert trained(Network(0).train()) == [True] * 3
    assert not any(layer.training for layer in Network(0).eval().blocks)


def test_a_subclass_may_freeze_more():
    assert trained(FreezesMore().train()) == [False, True, False]


def test_a_copy_freezes_its_own_layers():
    network = Network(1)
    other = copy.deepcopy(network)
    network.blocks[0].train()
    assert trained(other.train()) == [False, True, True]
    assert network.blocks[0].training


def test_the_last_level_of_a_pyramid_serves_the_proposals_alone():
    assert Network(0).roi_strides == (4, 8)
