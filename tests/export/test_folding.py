"""Constant folding: the same results, with what depends on weights alone in place of its operators."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from lightning_rcnn.export.folding import fold_constants
from lightning_rcnn.roi_heads.box_head import FullyConnected


def exported(module, *arguments):
    shapes = tuple({0: Dim("batch")} for _ in arguments)
    return torch.export.export(module, arguments, dynamic_shapes=shapes, strict=False)


def operators(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def test_the_weights_of_a_box_head_are_permuted_once(tmp_path):
    torch.manual_seed(0)
    head = FullyConnected(6, 7, 16).eval()
    regions = torch.randn(20, 6, 7, 7).to(memory_format=torch.channels_last)
    program = exported(head, regions)
    size = sum(weight.numel() for weight in program.state_dict.values())
    assert operators(program).count("aten.permute.default") == 2
    fold_constants(program)
    assert operators(program).count("aten.permute.default") == 1  # of the regions
    stored = [*program.state_dict.values(), *program.constants.values()]
    assert sum(weight.numel() for weight in stored) == size
    torch.export.save(program, tmp_path / "head.pt2")
    loaded = torch.export.load(tmp_path / "head.pt2").module()
    torch.testing.assert_close(loaded(regions), head(regions), rtol=0, atol=0)


class Grown(nn.Module):
    """A result that is larger than its weight, as weights of 16 bits are when they are widened."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4).half())

    def forward(self, inputs):
        return inputs @ self.weight.float().t()


class Counter(nn.Module):
    """A result that is overwritten, through a view."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, inputs):
        total = self.weight.clone()
        total.view(2, 2).add_(inputs.sum())
        return inputs + total


class Noise(nn.Module):
    """A result that is another one each time."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, inputs):
        return inputs + torch.rand_like(self.weight)


@pytest.mark.parametrize("module", [Grown, Counter, Noise])
def test_what_grows_is_overwritten_or_is_random_stays(module):
    original = module()
    program = exported(original, torch.zeros(2, 4))
    before = operators(program)
    fold_constants(program)
    assert operators(program) == before
    graph, inputs = program.module(), torch.randn(3, 4)
    if module is not Noise:
        for _ in range(2):  # nothing of a call stays for the next one
            torch.testing.assert_close(graph(inputs), original(inputs), rtol=0, atol=0)
