"""ONNX models as differentiable torch modules."""

from modelscan_bd.onnx_engine.convert import Conversion, convert, to_torch
from modelscan_bd.onnx_engine.gate import Parity

__all__ = ["Conversion", "Parity", "convert", "to_torch"]
