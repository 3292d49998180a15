"""Builds a network of ours, torchvision's or timm's in the measures that given tensors ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from modelscan_bd.errors import UsageError
from modelscan_bd.loading import index
from modelscan_bd.loading.index import Shapes
from modelscan_bd.torchvision_shim import prepare

_MOST_CLASSES = 100_000
_RANDOM = (Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, Tensor.bernoulli_)
_MISFITS = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, KeyError, ZeroDivisionError)


def build(arch: str, shapes: Shapes, *, believed: bool = True) -> nn.Module:
    """The named network, its weights not yet set, with classes, channels and image size as in `shapes`.

    Where the name is not the user's own (`believed` false), it is first laid out without memory and compared.
    Raises UsageError for an unknown name or measures that it cannot have.
    """
    try:
        if not believed and not _plausible(arch, shapes):
            raise UsageError(f"The tensors are not those of {arch}")
        with Unfilled():
            return _make(arch, shapes)
    except _MISFITS as error:
        why = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise UsageError(f"{arch} cannot be built in the measures of these tensors ({why})") from error


@final
class Unfilled(TorchFunctionMode):
    """Leaves out the drawing of first weights, most of the time that a network takes to build; the file's follow."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return args[0] if func in _RANDOM else func(*args, **(kwargs or {}))


def image_size(net: nn.Module) -> tuple[int, int] | None:
    """Height and width, where the network takes no other."""
    embed = getattr(net, "patch_embed", None)
    for value in (getattr(embed, "img_size", None), getattr(net, "image_size", None)):
        if isinstance(value, int):
            return value, value
        if isinstance(value, (tuple, list)) and len(value) == 2:
            return int(value[0]), int(value[1])
    return None


def _plausible(arch: str, shapes: Shapes) -> bool:
    """Costs no memory, so that a file cannot make us build a giant by its name alone."""
    with torch.device("meta"):
        net = _make(arch, shapes)
    return set(index.lasting({key: tuple(t.shape) for key, t in net.state_dict().items()})) == set(
        index.lasting(shapes)
    )


def _make(arch: str, shapes: Shapes) -> nn.Module:
    library, _, name = arch.rpartition(":")
    if library == "timm":
        return _timm(name, shapes)
    if library == "torchvision":
        return _torchvision(name, shapes)
    return _own(arch, shapes)


def _own(arch: str, shapes: Shapes) -> nn.Module:
    from modelscan_bd import nets

    for family in nets.FAMILIES:
        if family.measures(arch):
            stem, head = shapes.get(family.stem, ()), shapes.get(family.head, ())
            if len(stem) == 4 and len(head) == 2:
                size = family.size_of(shapes)
                return nets.build(arch, classes=_classes(head[0]), channels=stem[1], size=size)
            raise UsageError(f"The weights lack '{family.stem}' or '{family.head}', which every {arch} has")
    return nets.build(arch, classes=2)  # says which names there are


def _timm(name: str, shapes: Shapes) -> nn.Module:
    prepare()
    import timm

    if not timm.is_model(name.split(".", 1)[0]):
        from modelscan_bd import nets

        return nets.build(f"timm:{name}", classes=2)  # says which names are near
    known = timm.get_pretrained_cfg(name.split(".", 1)[0])
    options: dict[str, Any] = {"num_classes": _head(shapes, getattr(known, "classifier", None))}
    if (channels := _channels(shapes, getattr(known, "first_conv", None))) not in (None, 3):
        options["in_chans"] = channels
    if (side := _patched_side(shapes)) and getattr(known, "fixed_input_size", False):
        options["img_size"] = side
    net: nn.Module = timm.create_model(name, pretrained=False, **options)
    return net


def _torchvision(name: str, shapes: Shapes) -> nn.Module:
    from modelscan_bd import nets

    prepare()
    from torchvision import models

    if name not in models.list_models(module=models):
        return nets.build(f"torchvision:{name}", classes=2)  # says which names are near
    heads = [key.removesuffix(".weight") for key in index.loose(f"torchvision:{name}") if key.endswith(".weight")]
    options: dict[str, Any] = {
        "num_classes": _head(shapes, [head for head in heads if not _reads_images(head, shapes)])
    }
    if name in ("googlenet", "inception_v3"):
        auxiliary = any(key.lower().startswith("aux") for key in shapes)
        options |= {"aux_logits": auxiliary, "init_weights": False}
    net: nn.Module = models.get_model_builder(name)(weights=None, **options)
    _take_channels(net, shapes)
    return net


def _take_channels(net: nn.Module, shapes: Shapes) -> None:
    """torchvision's networks are made for colour; a file with another number of channels gets another first layer."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            wanted = shapes.get(f"{name}.weight", ())
            if len(wanted) == 4 and 0 < wanted[1] < 3 and module.in_channels == 3:
                module.in_channels = wanted[1]
                module.weight = nn.Parameter(module.weight[:, : wanted[1]].detach().clone())
            return


def _head(shapes: Shapes, name: object) -> int:
    """The number of classes: rows of the classifier's weight, or of the last weight there is."""
    first = name[0] if isinstance(name, (tuple, list)) and name else name
    weight = shapes.get(f"{first}.weight") if first else None
    if weight is None:
        weights = [shape for key, shape in shapes.items() if key.endswith("weight") and len(shape) in (2, 4)]
        weight = weights[-1] if weights else (1000,)
    return _classes(weight[0])


def _channels(shapes: Shapes, name: object) -> int | None:
    first = name[0] if isinstance(name, (tuple, list)) and name else name
    shape = shapes.get(f"{first}.weight", ()) if first else ()
    return shape[1] if len(shape) == 4 else None


def _reads_images(layer: str, shapes: Shapes) -> bool:
    shape = shapes.get(f"{layer}.weight", ())
    return len(shape) == 4 and shape[1] <= 3


def _patched_side(shapes: Shapes) -> int | None:
    """The side of a vision transformer's images, from its table of positions: a square, plus a few tokens."""
    positions, patches = shapes.get("pos_embed", ()), shapes.get("patch_embed.proj.weight", ())
    if len(positions) != 3 or len(patches) != 4:
        return None
    tokens = sum(key in shapes for key in ("cls_token", "dist_token"))
    for extra in (tokens, 0):
        side = round(max(positions[1] - extra, 0) ** 0.5)
        if side and side * side == positions[1] - extra:
            return int(side * patches[2])
    return None


def _classes(count: int) -> int:
    if not 1 <= count <= _MOST_CLASSES:
        raise UsageError(f"The last layer has {count} rows, which is no number of classes")
    return count
