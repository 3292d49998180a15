"""The engine's straight line, from an ONNX model to a torch module that has passed the gate."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx
import torch
from torch import Tensor, nn

from modelscan_bd.errors import UnreadableModel, UnsupportedModel
from modelscan_bd.onnx_engine.batch import Batch, batch_of, frees_well
from modelscan_bd.onnx_engine.gate import Parity, compare, gradient_error, pictures
from modelscan_bd.onnx_engine.head import Head, find_head, is_flat
from modelscan_bd.onnx_engine.inputs import Input, input_hints, input_of
from modelscan_bd.onnx_engine.limits import Limits, TooMuch
from modelscan_bd.onnx_engine.lowering import Lowering
from modelscan_bd.onnx_engine.prepare import Prepared, prepared
from modelscan_bd.onnx_engine.reference import BlackBox, InParts, Reference
from modelscan_bd.onnx_engine.tensors import dtype_of
from modelscan_bd.types import Hints, Layout, Output

_SAME_SLOPE = 1e-2  # relative error of a directional derivative


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A module, and everything that was learnt of the file on the way to it.

    `module` takes float images (n, ...) in the file's own layout and value range, and returns (n, k).
    """

    module: nn.Module
    differentiable: bool
    classes: int | None
    input: str
    shape: tuple[int | None, int | None, int | None]  # channels, height, width; None: any
    layout: Layout
    logits: str
    penultimate: str | None = None
    head_weight: Tensor | None = None  # (k, d)
    output: Output = Output.UNKNOWN
    hints: Hints = field(default_factory=Hints)
    rewrites: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    parity: Parity | None = None


def to_torch(model: onnx.ModelProto) -> nn.Module:
    """The graph as a differentiable torch module: the file's inputs in, its outputs out (a tuple, if several).

    A batch that the file fixes is freed where the result stays the same; else the module works batch by batch.
    Not compared with onnxruntime: `convert` does that. Raises UnsupportedModel or UnreadableModel.
    """
    with _well_formed():
        return _to_torch(model, Limits())


def _to_torch(model: onnx.ModelProto, limits: Limits) -> nn.Module:
    ready = prepared(model, limits, keep_ends=True)
    outputs = [o.name for o in ready.graph.output]
    free = batch_of(ready.graph, relax=True)
    if not free.relax:
        return _lowered(ready, outputs, free, limits)
    fixed = _lowered(ready, outputs, batch_of(ready.graph, relax=False), limits)
    try:
        module = _lowered(ready, outputs, free, limits)
    except UnsupportedModel:
        return InParts(fixed, free.sizes[0])
    kept = frees_well(module, fixed, free, _pictures(ready.graph.input[0], 2 * free.sizes[0]))
    return module if kept else InParts(fixed, free.sizes[0])


def _pictures(info: onnx.ValueInfoProto, n: int) -> Tensor:
    kind = info.type.tensor_type
    shape = [d.dim_value for d in kind.shape.dim[1:]]
    dtype = dtype_of(kind.elem_type)
    return pictures(shape, n, raw=not dtype.is_floating_point, seed=0).to(dtype)


def _lowered(ready: Prepared, outputs: list[str], batch: Batch, limits: Limits) -> nn.Module:
    lowering = Lowering(ready.graph, ready.weights, batch, ready.opset, limits)
    lowering.walk()
    return lowering.module(outputs)


def convert(model: onnx.ModelProto) -> Conversion:
    """A module that agrees with onnxruntime, gradients included; or else onnxruntime itself, forward only.

    The reason for the latter is in `notes`. Raises UnreadableModel where the file is broken, UnsupportedModel where
    it is no image classifier, asks for more than `Limits` allow, or does not run in onnxruntime either.
    """
    with _well_formed():
        entrance = input_of(model)
        try:
            return _differentiable(model, entrance, Limits())
        except TooMuch:
            raise
        except UnsupportedModel as why:
            return _black_box(model, entrance, why)


@contextlib.contextmanager
def _well_formed() -> Iterator[None]:
    """What a graph breaks that lacks an input, an output or an attribute which its operators cannot do without."""
    try:
        yield
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError) as why:
        reason = (str(why).splitlines() or [""])[0][:200]
        raise UnreadableModel(f"the model's graph is malformed ({type(why).__name__}: {reason})") from why


def _differentiable(model: onnx.ModelProto, entrance: Input, limits: Limits) -> Conversion:
    ready = prepared(model, limits)
    failure: UnsupportedModel | None = None
    for relax in (True, False) if entrance.batch else (False,):
        try:
            return _checked(model, entrance, ready, relax, limits)
        except TooMuch:
            raise
        except UnsupportedModel as why:
            failure = why
    assert failure is not None
    raise failure


def _checked(model: onnx.ModelProto, entrance: Input, ready: Prepared, relax: bool, limits: Limits) -> Conversion:
    lowering = Lowering(ready.graph, ready.weights, batch_of(ready.graph, relax=relax), ready.opset, limits)
    head = find_head(ready.graph, lowering.walk(), ready.weights)
    alone = entrance.batch if entrance.batch and not relax else None
    module, whole = (_in_parts(lowering.module([name]), alone) for name in (head.logits, head.output))
    parity, classes = _pass_gate(module, whole, model, entrance, ready.tolerance, head)
    freed = (f"the batch, fixed at {entrance.batch} in the file, was freed",) if entrance.batch and relax else ()
    removed = (f"{' and '.join(head.removed)} behind the logits left out",) if head.removed else ()
    return Conversion(
        module=module,
        differentiable=True,
        classes=classes,
        input=entrance.name,
        shape=entrance.shape,
        layout=entrance.layout,
        logits=head.logits,
        penultimate=head.penultimate,
        head_weight=head.weight,
        output=_output(whole if head.logits == head.output else None, entrance),
        hints=input_hints(model, entrance, ready.graph, ready.weights),
        rewrites=ready.rewrites + freed + removed,
        parity=parity,
    )


def _in_parts(module: nn.Module, batch: int | None) -> nn.Module:
    return module if batch is None else InParts(module, batch)


def _output(module: nn.Module | None, entrance: Input) -> Output:
    """Probabilities are recognised by what they are; None stands for a module whose softmax was left out."""
    if module is None:
        return Output.LOGITS
    with torch.no_grad():
        scores = module(_images(entrance, 3)).flatten(1)
    squashed = bool((scores >= 0).all()) and torch.allclose(scores.sum(1), torch.ones(len(scores)), atol=1e-4)
    return Output.PROBABILITIES if squashed else Output.LOGITS


def _images(entrance: Input, n: int) -> Tensor:
    return pictures(entrance.example(), n, raw=entrance.raw, seed=n)


def _pass_gate(
    module: nn.Module, whole: nn.Module, model: onnx.ModelProto, entrance: Input, tolerance: float, head: Head
) -> tuple[Parity, int]:
    """Raises UnsupportedModel, with the figure, where the module is not what onnxruntime runs."""
    batches = [_images(entrance, n) for n in (1, 3)]
    reference, probe = _witness(model, head)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where torch.fx prints a trace of its own
            parity = compare(module if probe == head.logits else whole, reference, probe, batches, entrance.batch)
            error = gradient_error(module, batches[0])
    except (RuntimeError, ValueError, IndexError, TypeError) as why:
        raise UnsupportedModel(f"the converted model does not run: {str(why).splitlines()[0][:200]}") from why
    if not parity.difference <= tolerance:
        raise UnsupportedModel(
            f"the converted model's outputs differ from onnxruntime's by {parity.difference:.2g} of the largest, "
            f"more than {tolerance:g}"
        )
    if not error <= _SAME_SLOPE:
        raise UnsupportedModel(f"the converted model's gradient is off by {error:.2g}, more than {_SAME_SLOPE:g}")
    with torch.no_grad():
        classes = module(batches[0]).flatten(1).shape[1]
    return dataclasses.replace(parity, gradient=error), classes


def _witness(model: onnx.ModelProto, head: Head) -> tuple[Reference, str]:
    """onnxruntime, and the tensor to compare: the logits, where the file has them under the same name."""
    kind = next(o.type.tensor_type.elem_type for o in model.graph.output if o.name == head.output)
    if head.logits != head.output and any(head.logits in node.output for node in model.graph.node):
        inside = onnx.helper.make_tensor_value_info(head.logits, kind, None)
        with contextlib.suppress(UnsupportedModel):
            return Reference(model, extra=[inside]), head.logits
    return Reference(model), head.output


# ---------------------------------------------------------------- without gradients


def _black_box(model: onnx.ModelProto, entrance: Input, why: UnsupportedModel) -> Conversion:
    reference = Reference(model)
    output, classes = _first_scores(reference, entrance)
    module = BlackBox(reference, output, entrance.batch)
    return Conversion(
        module=module,
        differentiable=False,
        classes=classes,
        input=entrance.name,
        shape=entrance.shape,
        layout=entrance.layout,
        logits=output,
        output=_output(module, entrance),
        hints=input_hints(model, entrance, model.graph, {}),
        notes=(f"gradients are not available: {why.what}",),
    )


def _first_scores(reference: Reference, entrance: Input) -> tuple[str, int]:
    """The first output with one number per class, and the number of classes; those called logits come before."""
    for name in sorted(reference.outputs, key=lambda name: "logit" not in name.lower()):
        scores = reference.run(_images(entrance, entrance.batch or 1), name)
        if scores.is_floating_point() and is_flat(scores.shape):
            return name, scores[0].numel()
    raise UnsupportedModel("no output of the model holds one score per class")
