"""Activation checkpointing: what a block computes inside is not kept for backward, but computed again there.

Source: Chen et al. 2016, arXiv 1604.06174, section 4.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_recomputed(blocks: Iterable[nn.Module], hidden: Tensor) -> Tensor:
    """Run blocks one after the other and keep only what each gets.

    The gradients are the same. Batch norms take each batch into their statistics once, and random numbers (drop path)
    are those of the first pass.
    """
    for block in blocks:
        if torch.compiler.is_compiling():  # a compiled graph changes statistics once in any case
            hidden = checkpoint(block, hidden, use_reentrant=False)
        else:
            hidden = checkpoint(block, hidden, use_reentrant=False, context_fn=partial(_contexts, block))
    return hidden


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the first pass and of the second one."""
    return nullcontext(), _without_statistics(block)


@contextmanager
def _without_statistics(block: nn.Module) -> Iterator[None]:
    """Let batch norms in training leave their statistics as they are, which the first pass has updated."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.training]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, number) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, number
