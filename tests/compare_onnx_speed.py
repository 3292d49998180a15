"""Times converted ONNX models against the native torch modules they were exported from, side by side in one run.

    python tests/compare_onnx_speed.py [--rounds 7] [--batch 32] [--threads 2] [--compile BACKEND] [--nets A,B]

Five nets at 64 pixels, exported by the dynamo exporter with a free batch. Native and converted take turns within each
round, so that a busy machine slows both; the printed figure is the median of the rounds' ratios (lower is faster than
native). With --compile each converted net also goes through `torch.compile(fullgraph=True)` (inductor builds
C++ and takes minutes; aot_eager only shows that the whole graph is taken). With --big, load time and
peak memory of `convert` for one model of about 350 MB are measured instead. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from modelscan_bd.onnx_engine import convert, to_torch
from modelscan_bd.torchvision_shim import prepare

SIDE = 64


def nets() -> dict[str, Callable[[], nn.Module]]:
    prepare()
    import timm
    import torchvision.models as tv

    def swin() -> nn.Module:
        return tv.SwinTransformer(
            patch_size=[4, 4], embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=10
        )

    return {
        "resnet18": lambda: tv.resnet18(num_classes=10),
        "mobilenet_v3_small": lambda: tv.mobilenet_v3_small(num_classes=10),
        "convnext_atto": lambda: timm.create_model("convnext_atto", num_classes=10),
        "vit_tiny": lambda: timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=SIDE),
        "swin": swin,
    }


def exported(net: nn.Module, folder: Path, side: int = SIDE) -> onnx.ModelProto:
    path = folder / "model.onnx"
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = (torch.randn(2, 3, side, side),)
    torch.onnx.export(net, example, str(path), dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    return onnx.load(path)


def forward(net: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        net(x)


def forward_and_back(net: nn.Module, x: Tensor) -> None:
    images = x.clone().requires_grad_(True)
    torch.autograd.grad(net(images).sum(), images)


def seconds(work: Callable[[nn.Module, Tensor], None], net: nn.Module, x: Tensor) -> float:
    start = time.perf_counter()
    work(net, x)
    return time.perf_counter() - start


def ratio(work: Callable[[nn.Module, Tensor], None], native: nn.Module, ours: nn.Module, x: Tensor, n: int) -> float:
    for net in (native, ours):
        work(net, x)
    return statistics.median(seconds(work, ours, x) / seconds(work, native, x) for _ in range(n))


def compiles(ours: nn.Module, x: Tensor, backend: str) -> str:
    start = time.perf_counter()
    with torch.no_grad():
        difference = float((torch.compile(ours, fullgraph=True, backend=backend)(x) - ours(x)).abs().max())
    return f"compiles in {time.perf_counter() - start:.0f} s, difference {difference:.1e}"


def compare(name: str, make: Callable[[], nn.Module], options: argparse.Namespace) -> tuple[float, float]:
    torch.manual_seed(0)
    native = make().eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        ours = to_torch(exported(native, Path(folder)))
    x = torch.randn(options.batch, 3, SIDE, SIDE)
    ratios = ratio(forward, native, ours, x, options.rounds), ratio(forward_and_back, native, ours, x, options.rounds)
    note = compiles(ours, x, options.compile) if options.compile else ""
    print(f"{name:<20} forward {ratios[0]:.2f}  forward and back {ratios[1]:.2f}  {note}", flush=True)
    return ratios


def big() -> None:
    """A plain net of about 350 MB in one file."""
    layers = [nn.Conv2d(3, 64, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4096)]
    layers += [layer for _ in range(5) for layer in (nn.ReLU(), nn.Linear(4096, 4096))] + [nn.Linear(4096, 10)]
    with tempfile.TemporaryDirectory() as folder:
        model = exported(nn.Sequential(*layers).eval(), Path(folder))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    to_torch(model)
    loaded = time.perf_counter() - start
    print(f"{model.ByteSize() / 2**20:.0f} MB: to_torch {loaded:.1f} s,", end=" ")
    print(
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before:.0f} MB above {before:.0f};", end=" "
    )
    start = time.perf_counter()
    found = convert(model)
    print(f"convert with its gate {time.perf_counter() - start:.1f} s,", end=" ")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before:.0f} MB above; {found.parity}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", default="", metavar="BACKEND")
    parser.add_argument("--big", action="store_true")
    parser.add_argument("--nets", default="")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.big:
        big()
        return
    wanted = [name for name in options.nets.split(",") if name]
    both = [compare(n, make, options) for n, make in nets().items() if not wanted or n in wanted]
    forwards, backs = zip(*both, strict=True)
    print(f"{'median':<20} forward {statistics.median(forwards):.2f}  forward and back {statistics.median(backs):.2f}")


if __name__ == "__main__":
    main()
