"""The table of operators, at the engine's one opset: ONNX name → kernel. See `kinds` for how a kernel is written."""

from __future__ import annotations

from typing import Final

from modelscan_bd.onnx_engine.ops import (
    activations,
    arithmetic,
    convolution,
    indexing,
    normalisation,
    pooling,
    quantised,
    reductions,
    resizing,
    shaping,
)
from modelscan_bd.onnx_engine.ops.kinds import Table

OPERATORS: Final[Table] = {
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **convolution.OPERATORS,
    **indexing.OPERATORS,
    **normalisation.OPERATORS,
    **pooling.OPERATORS,
    **quantised.OPERATORS,
    **reductions.OPERATORS,
    **resizing.OPERATORS,
    **shaping.OPERATORS,
}
