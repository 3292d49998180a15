"""The values that options take, checked as they are read; click adds the option's name to the complaint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from click import BadParameter

from modelscan_bd.errors import UsageError

# what --range means: the scale of a white pixel, and mean and std of pixels in [0, 1] where it fixes them
RANGES: Mapping[str, tuple[float, float | None]] = {"0,1": (1.0, None), "0,255": (255.0, None), "-1,1": (1.0, 0.5)}


def numbers(text: str) -> tuple[float, ...]:
    """Comma-separated numbers, one per channel or one for all."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadParameter(f"'{text}' is not a list of numbers such as 0.5,0.5,0.5.") from None


def size(text: str) -> tuple[int, int]:
    """Height and width in pixels: `32`, `28x32`."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise BadParameter(f"'{text}' is not a size such as 32 or 28x32 (height x width).")
    return int(parts[0]), int(parts[-1])


def names(text: str) -> tuple[str, ...]:
    """Comma-separated names."""
    found = tuple(part.strip() for part in text.split(","))
    if not all(found):
        raise BadParameter(f"'{text}' has nothing between two commas.")
    return found


def report_file(text: str) -> Path:
    """A file to write, in a folder that exists, with an extension that names its format."""
    from modelscan_bd.report import format_of

    path = Path(text)
    try:
        format_of(path)
    except UsageError as error:
        raise BadParameter(str(error)) from error
    if not path.parent.is_dir():
        raise BadParameter(f"the folder '{path.parent}' does not exist.")
    return path
