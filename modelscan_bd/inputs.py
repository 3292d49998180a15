"""What a network expects of its input, and what is said of that. Without torch, as all that a report holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Shape: TypeAlias = tuple[int, int, int]  # channels, height, width


class Layout(StrEnum):
    NCHW = "nchw"
    NHWC = "nhwc"


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What flags or a file say of the expected input; `None` is silence. mean and std are of pixels in [0, 1]."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = None  # what a white pixel becomes before mean and std: 1 or 255
    size: tuple[int, int] | None = None  # height, width in pixels
    channels: int | None = None
    layout: Layout | None = None
    bgr: bool | None = None
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Pixels in [0, 1] → the network's input: `(pixels * scale - mean * scale) / (std * scale)`, then layout.

    mean and std are of pixels in [0, 1]; `scale` 255 with mean 0 and std 1/255 feeds raw bytes.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: Layout = Layout.NCHW
    bgr: bool = False
    source: str  # "flags", "metadata", "inferred", "assumed"
    confidence: float | None = None  # 0..1, only where it was inferred
    detail: str = ""


class Tier(StrEnum):
    """What a scan is given besides the model."""

    IMAGES = "images"
    NONE = "none"
