"""Constant folding: what a graph computes from its weights alone is computed once, when it is exported.

A box head, for example, brings the weights of its first layer into the order of channels-last regions: 50 MB that
would be copied for every batch. A result that takes more memory than the weights that it replaces stays in the graph.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind, InputSpec, TensorArgument
from torch.fx import Node
from torch.fx.node import map_arg

_PREFIX = "folded_"
_WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


def fold_constants(program: ExportedProgram) -> None:
    """Replace what depends on weights alone by its result, in place.

    Args:
        program: a program that was just traced and changes no weight.
    """
    weights = _weights(program)
    with torch.no_grad():
        results = _results(program, weights)
    _replace(program, dict(_worthwhile(results, weights)))
    _drop_unused(program)


def _weights(program: ExportedProgram) -> dict[Node, Tensor]:
    """Return the tensors behind the placeholders of a graph that are no inputs of the user."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    stored: dict[str, Any] = {**program.constants, **program.state_dict}
    return {
        nodes[spec.arg.name]: stored[spec.target].detach()
        for spec in program.graph_signature.input_specs
        if spec.kind in _WEIGHTS and spec.target is not None
    }


def _results(program: ExportedProgram, weights: Mapping[Node, Tensor]) -> dict[Node, Tensor]:
    """Return the results of the operators that depend on weights alone."""
    known = dict(weights)
    for node in program.graph.nodes:
        inputs = node.all_input_nodes
        if inputs and _is_pure(node) and all(source in known for source in inputs):
            arguments, options = map_arg((node.args, node.kwargs), known.__getitem__)
            result = node.target(*arguments, **options)
            if isinstance(result, Tensor):
                known[node] = result
    changed = _changed_in_place(program, known)
    return {node: result for node, result in known.items() if node not in weights and node not in changed}


def _changed_in_place(program: ExportedProgram, known: Mapping[Node, Tensor]) -> set[Node]:
    """Return the known results that an operator overwrites, or may through a view: a constant would stay changed."""
    mutations = [node for node in program.graph.nodes if node.op == "call_function" and _is_mutation(node)]
    left = [source for node in mutations for source in node.all_input_nodes]
    changed: set[Node] = set()
    while left:
        node = left.pop()
        if node in known and node not in changed:
            changed.add(node)
            left += node.all_input_nodes
    return changed


def _is_pure(node: Node) -> bool:
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    return not node.target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in node.target.tags


def _is_mutation(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _worthwhile(results: Mapping[Node, Tensor], weights: Mapping[Node, Tensor]) -> Iterator[tuple[Node, Tensor]]:
    """Yield the results that the rest of the graph takes, and that are no larger than what they are made of."""
    for node, result in results.items():
        if all(user in results for user in node.users):
            continue
        if result.nbytes <= sum(weights[source].nbytes for source in _sources(node, weights)):
            yield node, result


def _sources(node: Node, weights: Mapping[Node, Tensor]) -> set[Node]:
    """Return the weights that a node depends on."""
    if node in weights:
        return {node}
    return set().union(*(_sources(source, weights) for source in node.all_input_nodes))


def _replace(program: ExportedProgram, constants: Mapping[Node, Tensor]) -> None:
    graph, signature = program.graph, program.graph_signature
    first = next(node for node in graph.nodes if node.op == "placeholder")
    specs = []
    for number, (node, value) in enumerate(constants.items()):
        name = f"{_PREFIX}{number}"
        with graph.inserting_before(first):
            placeholder = graph.placeholder(name)
        placeholder.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(placeholder)
        # Views of a weight would keep all of it.
        program.constants[name] = value.clone(memory_format=torch.contiguous_format)
        specs.append(InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(placeholder.name), name))
    _set_inputs(program, [*specs, *signature.input_specs])
    graph.eliminate_dead_code()


def _drop_unused(program: ExportedProgram) -> None:
    """Remove the weights that no operator takes any more."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    kept = []
    for spec in program.graph_signature.input_specs:
        if spec.kind not in _WEIGHTS or nodes[spec.arg.name].users:
            kept.append(spec)
            continue
        program.graph.erase_node(nodes[spec.arg.name])
        assert spec.target is not None
        for stored in (program.state_dict, program.constants):
            stored.pop(spec.target, None)
    _set_inputs(program, kept)
    program.graph_module.recompile()


def _set_inputs(program: ExportedProgram, specs: list[InputSpec]) -> None:
    program._graph_signature = ExportGraphSignature(specs, program.graph_signature.output_specs)
