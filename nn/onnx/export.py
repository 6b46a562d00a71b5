"""`export_onnx`: from a model and an example to a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend, trees
from minigrad.modes import changed_mode

from ..modules import Module, _first_weight
from ..sequences.recurrent import OverTime
from ..training.files import StrPath, atomic, write_bytes
from . import recurrent
from .operands import Operand
from .operations import OPERATIONS
from .sizes import Axes, another, named_axes, sizes_of, solved
from .tracing import Record, trace
from .values import OnnxGraph

OPSET = 18
IR_VERSION = 9  # of ONNX 1.14, the first release whose newest opset is at least this one

Array = np.ndarray[Any, Any]


def export_onnx(
    model: Module, path: StrPath, example: Any, *, call: str | Callable[..., Any] = "forward", axes: Axes | None = None,
    inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None, opset: int = OPSET,
) -> None:  # fmt: skip
    """Write a model in evaluation mode as an ONNX file (opset 18), for other programs to run.

    example  the argument of a call, or a tuple of all arguments: arrays, Tensors, nested structures of them
    call     the model's method that is exported, "step" for instance, or a function of the arguments that calls it
    axes     for each input, in order, the names of its axes, None for one that is always as long as the example's; an
             axis of the same name has one size everywhere. Without them, all axes but the last of floats and all of
             integers may have any size: ("time", "batch"), or ("batch",). An axis of a further
             input is the one of the first that is as long, or one of its own if the model allows it
    inputs, outputs  names of the graph's inputs and outputs, in order; the parameters' names, "output"
    opset    18, the only one that is written: every runtime of a later one reads it

    The model is run with the example, and once more with other sizes and numbers. Each operation becomes a node; `RNN`,
    `LSTM` and `GRU` (of any depth, in both directions, with lengths), convolution and pooling become ONNX's own
    operators (onnxruntime has the first three for float32 only). Decisions made in Python while the model runs, such as
    the number of steps of a loop, must not depend on the inputs: if the two runs differ, an error names the place.

    Raises RuntimeError for an operation without a counterpart, with its place; ValueError for an example or axes that
    do not fit, or another opset; OSError if the file cannot be written; ImportError without the extra `onnx`. The old
    file stays as it was until the new one is complete.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("export_onnx needs the package onnx: pip install 'minigrad[onnx]'") from error
    if opset != OPSET:
        raise ValueError(
            f"export_onnx: files of opset {OPSET} are written, not of {opset}; later runtimes read these, and "
            "onnx.version_converter.convert_version turns the loaded file into one of another opset, where it can"
        )
    function = getattr(model, call) if isinstance(call, str) else call
    if call == "forward":
        function = model
    args = example if type(example) is tuple else (example,)
    names, arrays, rebuild = _leaves(model, function if call != "forward" else model.forward, args)
    first = any(getattr(module, "batch_first", False) for module in model.modules())
    records, returned = trace(model, function, rebuild(arrays), recurrent.is_whole)
    for free, zero in ((True, True), (True, False), (False, True), (False, False)):
        found = named_axes(arrays, axes, ("batch", "time") if first else ("time", "batch"), free)
        sizes = sizes_of(arrays, found)
        others = another(arrays, found, sizes, zero)
        try:
            other_records, other_returned = trace(model, function, rebuild(others), recurrent.is_whole)
            break
        except Exception as error:
            if not (free or zero):
                shapes = [array.shape for array in others]
                error.add_note(
                    f"export_onnx: the example ran, inputs {shapes} did not; axes= says which sizes may differ"
                )
                raise
    _check_same(model, records, other_records)
    larger = sizes_of(others, found)
    graph = OnnxGraph(onnx, {name: (n, larger[name]) for name, n in sizes.items()})
    names = _chosen("inputs", inputs, names)
    results = list(_results(returned, other_returned, "output"))
    ends = _chosen("outputs", outputs, [name for name, _, _ in results])
    if len({*names, *ends}) < len(names) + len(ends):
        raise ValueError(f"export_onnx: names must differ: inputs {', '.join(names)}, outputs {', '.join(ends)}")
    graph.weights(model, [*names, *ends])
    for name, a, b, axis_names in zip(names, arrays, others, found, strict=True):
        graph.input(name, a, b, axis_names)
    with mg.no_grad(), changed_mode(observers=()):
        for record, other in zip(records, other_records, strict=True):
            _convert(graph, record, other)
        for name, (_, a, b) in zip(ends, results, strict=True):
            graph.place = f"the output {name!r}"
            graph.nodes.append(onnx.helper.make_node("Identity", [graph.value(a, b)], [name], name=name))
    content = _model(graph, model, list(zip(names, arrays, others, strict=True)),
                     [(name, a, b) for name, (_, a, b) in zip(ends, results, strict=True)])  # fmt: skip
    with atomic(path) as temporary:
        write_bytes(temporary, content)


# ---- inputs and outputs ------------------------------------------------------------------------------------------


def _leaves(
    model: Module, function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[list[str], list[Array], Callable[[list[Array]], tuple[Any, ...]]]:
    """Names and arrays of the inputs, and a function from arrays to arguments."""
    parameters = list(inspect.signature(function).parameters)
    called = [parameters[k] if k < len(parameters) else f"input{k}" for k in range(len(args))]
    named = [pair for name, arg in zip(called, args, strict=True) for pair in _paths(arg, name)]
    leaves, rebuild = trees.flatten(args)
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, mg.Tensor) or backend.is_array(leaf)]
    if not places:
        raise ValueError(
            "export_onnx: the example has no array in it; give those of a call, as NumPy arrays or Tensors"
        )
    weight = _first_weight(model)
    arrays = []
    for k in places:
        leaf = leaves[k]
        array = leaf.data if isinstance(leaf, mg.Tensor) else leaf
        if not backend.on_cpu(array) or (weight is not None and weight.device != "cpu"):
            raise ValueError("export_onnx: the model and the example must be on the CPU; move them with .to('cpu')")
        dtype = array.dtype
        if dtype.kind == "f" and not isinstance(leaf, mg.Tensor) and weight is not None:
            dtype = weight.dtype
        arrays.append(np.array(array, dtype))

    def arguments(values: list[Array]) -> tuple[Any, ...]:
        filled = list(leaves)
        for k, value in zip(places, values, strict=True):
            filled[k] = mg.Tensor(value) if isinstance(leaves[k], mg.Tensor) or value.dtype.kind == "f" else value
        return rebuild(filled)  # type: ignore[no-any-return]

    return [named[k][0] for k in places], arrays, arguments


def _paths(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, leaf) of a nested structure, in the order of `trees.flatten`."""
    if isinstance(tree, dict):
        children = list(tree.items())
    elif isinstance(tree, tuple | list):
        children = list(zip(getattr(tree, "_fields", range(len(tree))), tree, strict=True))
    else:
        yield name, tree
        return
    for key, child in children:
        yield from _paths(child, f"{name}.{key}")


def _results(first: Any, second: Any, name: str) -> Iterator[tuple[str, Array, Array]]:
    """(name, array, the other run's array) of all results of a call."""
    for (path, a), (_, b) in zip(_paths(first, name), _paths(second, name), strict=True):
        a, b = (v.data if isinstance(v, mg.Tensor) else v for v in (a, b))
        if isinstance(a, np.ndarray):
            yield path, a, b


def _chosen(what: str, given: Sequence[str] | None, names: list[str]) -> list[str]:
    if given is not None and len(given) != len(names):
        raise ValueError(f"export_onnx: {len(given)} names of {what} for {len(names)}: {', '.join(names)}")
    return names if given is None else list(given)


# ---- the two runs ------------------------------------------------------------------------------------------------


def _check_same(model: Module, records: list[Record], others: list[Record]) -> None:
    """RuntimeError unless both runs performed the same operations."""
    pairs = zip(records, others, strict=False)
    different = next((a for a, b in pairs if (a.name, a.module) != (b.name, b.module)), None)
    if different is None and len(records) == len(others):
        return
    for name, module in model.named_modules():
        if isinstance(module, OverTime) and (why := recurrent.foreign(module)) is not None:
            raise RuntimeError(
                f"export_onnx: {name or 'the model'} ({type(module).__name__}) is a loop with {why}, and ONNX has only "
                "RNN, LSTM and GRU as loops; export one step, by call=, or a fixed number of steps, by axes= with None "
                "for the axis of time"
            )
    place = (different or max(records, others, key=len)[min(len(records), len(others))]).place
    raise RuntimeError(
        f"export_onnx: the operations depend on the sizes or numbers of the inputs, from the one {place} on, as "
        "those of a loop over steps or of an if do; give axes= with None for an axis that is always as long as here"
    )


def _convert(graph: OnnxGraph, a: Record, b: Record) -> None:
    """The nodes of one record. A missing counterpart is an error only if the result is needed."""
    graph.place = f"{a.name} {a.place}"
    try:
        if a.module is not None:
            graph.place = f"{type(a.module).__name__} {a.place}"
            made: Any = recurrent.convert(graph, a.module, (a.operands, b.operands))
        elif a.name in OPERATIONS:
            operands = [Operand(graph, x, y) for x, y in zip(a.operands, b.operands, strict=True)]
            made = OPERATIONS[a.name](graph, *operands)
        else:
            raise graph.refused(f"{a.name} has no counterpart in ONNX, or none is known here")
        made = [made] if isinstance(made, str) else made
        for name, x, y in zip(made, a.outputs, b.outputs, strict=True):
            graph.learn(name, x, y)
    except RuntimeError as error:
        for x, y in zip(a.outputs, b.outputs, strict=True):
            graph.fail(x, y, error)


# ---- the file ----------------------------------------------------------------------------------------------------


def _model(graph: OnnxGraph, model: Module, inputs: list[tuple[str, Array, Array]], outputs: Any) -> bytes:
    """The file's bytes, with the nodes that the outputs need."""
    onnx = graph.onnx
    needed = {name for name, _, _ in outputs}
    nodes = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)

    def described(name: str, a: Array, b: Array) -> Any:
        dims = [solved(m, n, graph.sizes) for m, n in zip(a.shape, b.shape, strict=True)]
        texts = [None if d is None else d.rest if not d.names else d.names[0]
                 if (d.factor, d.rest, len(d.names)) == (1, 0, 1) else None for d in dims]  # fmt: skip
        return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), texts)

    made = onnx.helper.make_graph(
        nodes[::-1], type(model).__name__, [described(*i) for i in inputs], [described(*o) for o in outputs],
        [onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
         for name, array in graph.constants.items() if name in needed],
    )  # fmt: skip
    whole = onnx.helper.make_model(
        made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="minigrad",
        producer_version=mg.__version__,
    )  # fmt: skip
    onnx.checker.check_model(whole)
    return whole.SerializeToString()  # type: ignore[no-any-return]
