"""ONNX models as differentiable torch modules.

How a node travels from the file to the module:

    onnx.ModelProto
      │  limits      what the file claims is counted: nodes after expansion, nesting, sizes (too much: refused)
      │  source      large weights are left aside; what follows rewrites a small skeleton
      │  inline      local functions become their nodes
      │  order       nodes are sorted; circles and tensors produced twice are refused
      │  opset       ONNX's own converter brings the skeleton to opset 21 (newer files stay as they are)
      │  halves      half precision is widened to single
      │  dequantise  8-bit codes become the numbers they stand for, rounded where no gradient is taken
      │  fuse        MatMul and Add of constants become one linear layer, with the rounding behind it if there is one
      ▼  prepare     (runs the steps above; operators without a kernel are listed all at once)
    graph at one opset, weights as tensors
      │  lowering    node by node: what does not depend on the picture is computed now, with the batch as an
      │              unknown (`batch`, `values`); If and Loop are resolved (`control`), composites expanded
      │  ops/        the table: ONNX name → kernel, a plain torch function; the same kernel folds constants,
      │              works out shapes on empty tensors, and runs in the finished module
      │  writer      a torch.fx graph; weighted nodes become layers under the node's name (`modules`)
      ▼
    torch.fx.GraphModule
      │  head        which output, which tensor holds the logits, which linear layer comes before
      │  gate        onnxruntime on the same images at several batch sizes (`reference`), and one directional
      │              derivative against a central difference
      ▼
    Conversion       or, where a step says no, onnxruntime behind a torch face, forward only, with the reason

A new operator is one function in a file of `ops/` and one line in that file's table.
"""

from modelscan_bd.onnx_engine.convert import Conversion, convert, to_torch
from modelscan_bd.onnx_engine.gate import Parity

__all__ = ["Conversion", "Parity", "convert", "to_torch"]
