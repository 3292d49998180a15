"""`--data DIR`: clean pictures of the user's, labelled by their folders where that can be trusted.

A folder of class folders is labelled, a folder of pictures is not. Files are untrusted: only plain files inside the
folder are read, only by four decoders, and never beyond a bound on pixels.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Generator, Tensor

from modelscan_bd.errors import UsageError
from modelscan_bd.types import Probes, ProbeSource, Shape

FEWEST = 32  # images below which rates such as "97 % of images flip" mean little

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
_DECODERS = ("PNG", "JPEG", "BMP", "WEBP")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_MOST_PIXELS = 50_000_000
_MOST_NAMED = 3  # broken files named in a note


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """What lies in a data folder, before any picture is decoded. `classes` is empty for a flat folder."""

    root: Path
    classes: tuple[str, ...]  # names of the class folders, sorted
    files: Mapping[str, tuple[Path, ...]]  # by class folder; a flat folder's are under ""
    notes: tuple[str, ...] = ()


def survey(root: Path) -> ImageFolder:
    """Lists a data folder. Raises UsageError where it is none, or holds no pictures."""
    if not root.is_dir():
        raise UsageError(f"--data {root} is not a folder", remedy="Give a folder of images or of class folders.")
    home = root.resolve()
    classes = {d.name: _images_below(d, home) for d in sorted(home.iterdir()) if d.is_dir() and not d.is_symlink()}
    classes = {name: files for name, files in classes.items() if files}
    flat = _pictures(home, os.listdir(home), home)
    if not classes and not flat:
        raise UsageError(f"--data {root} holds no PNG, JPEG, BMP or WEBP image", remedy="Give a folder that does.")
    if not classes:
        return ImageFolder(root=root, classes=(), files={"": flat})
    notes = (f"{len(flat)} images beside the class folders were not used",) if flat else ()
    return ImageFolder(root=root, classes=tuple(classes), files=classes, notes=notes)


def natural_size(folder: ImageFolder) -> tuple[int, int] | None:
    """Height and width that all of the first few pictures share, or None where they differ."""
    sizes = set()
    for path in [path for files in folder.files.values() for path in files[:2]][:32]:
        try:
            with _opened(path) as picture:
                sizes.add((picture.height, picture.width))
        except _UNREADABLE:
            continue
    return sizes.pop() if len(sizes) == 1 else None


def load(
    folder: ImageFolder,
    *,
    shape: Shape,
    classes: int,
    class_names: Sequence[str] | None,
    images: int,
    rng: Generator,
) -> Probes:
    """Up to `images` pictures of the model's input shape, as many of each class as there are.

    Raises UsageError where fewer than `FEWEST` can be read, or the model's channels are none a picture has.
    """
    if shape[0] not in _MODES:
        raise UsageError(f"the model takes {shape[0]} channels and image files have 1, 3 or 4", remedy="Omit --data.")
    index, doubt = label_map(folder.classes, classes=classes, class_names=class_names)
    pixels, names, broken = _decode(folder, shape, images, rng)
    if len(pixels) < FEWEST:
        raise UsageError(
            f"--data {folder.root} gives {len(pixels)} usable images ({_broken(broken) or 'none is broken'}) "
            f"and {FEWEST} are needed",
            remedy="Add images, or omit --data to scan with procedural ones.",
        )
    labels = torch.tensor([index[name] for name in names]) if index else None
    notes = (*folder.notes, *((doubt,) if doubt else ()), *((_broken(broken),) if broken else ()))
    return Probes(images=torch.stack(pixels), labels=labels, source=ProbeSource.CLEAN, notes=notes)


def label_map(
    folders: Sequence[str], *, classes: int, class_names: Sequence[str] | None
) -> tuple[dict[str, int] | None, str]:
    """Class index of each folder name; None, with a sentence when there are folders, where they fit no known order.

    Tried in turn: the checkpoint's own class names; numbers; torchvision's ImageFolder, which counts sorted names.
    """
    if not folders:
        return None, ""
    known = {name.casefold(): i for i, name in enumerate(class_names or ())}
    if len(known) == classes and all(name.casefold() in known for name in folders):
        return {name: known[name.casefold()] for name in folders}, ""
    if all(name.isdecimal() and name.isascii() for name in folders) and len({int(name) for name in folders}) == len(
        folders
    ):
        return _numbered(folders, classes)
    if len(folders) == classes:
        return {name: i for i, name in enumerate(sorted(folders))}, ""
    return None, _mismatch(folders, classes)


def _numbered(folders: Sequence[str], classes: int) -> tuple[dict[str, int] | None, str]:
    """Numbers mean themselves; a full set that starts elsewhere than 0 is counted in numeric order."""
    numbers = {name: int(name) for name in folders}
    if all(number < classes for number in numbers.values()):
        return numbers, ""
    if len(folders) == classes:
        return {name: i for i, name in enumerate(sorted(folders, key=int))}, ""
    return None, _mismatch(folders, classes)


def _mismatch(folders: Sequence[str], classes: int) -> str:
    return (
        f"{len(folders)} class folders do not match the model's {classes} classes, so the images were used without "
        "labels; name the folders by class number (0, 1, ...) to have them used"
    )


def _images_below(folder: Path, home: Path) -> tuple[Path, ...]:
    found: list[Path] = []
    for here, _, names in os.walk(folder, followlinks=False):
        found.extend(_pictures(Path(here), names, home))
    return tuple(sorted(found))


def _pictures(here: Path, names: Sequence[str], home: Path) -> tuple[Path, ...]:
    """The plain picture files among `names`; a link may point anywhere inside the data folder and nowhere else."""
    paths = (here / name for name in sorted(names) if Path(name).suffix.lower() in _SUFFIXES)
    return tuple(path for path in paths if path.is_file() and path.resolve().is_relative_to(home))


_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def _decode(
    folder: ImageFolder, shape: Shape, images: int, rng: Generator
) -> tuple[list[Tensor], list[str], list[Path]]:
    pixels: list[Tensor] = []
    names: list[str] = []
    broken: list[Path] = []
    for name, path in _balanced(folder.files, rng):
        if len(pixels) == images:
            break
        try:
            pixels.append(read_image(path, shape))
            names.append(name)
        except _UNREADABLE:
            broken.append(path)
    return pixels, names, broken


def _balanced(files: Mapping[str, tuple[Path, ...]], rng: Generator) -> Iterator[tuple[str, Path]]:
    """One picture of each class after another, in random order, until all are drawn."""
    piles = {name: [paths[i] for i in torch.randperm(len(paths), generator=rng)] for name, paths in files.items()}
    names = list(piles)
    while any(piles.values()):
        for i in torch.randperm(len(names), generator=rng):
            if piles[names[i]]:
                yield names[i], piles[names[i]].pop()


def read_image(path: Path, shape: Shape) -> Tensor:
    """One picture, (c, h, w) in [0, 1]: scaled so that it covers the input, its middle cut out.

    Raises OSError, ValueError, SyntaxError or Pillow's bomb errors where the file is not a readable picture.
    """
    c, h, w = shape
    with _opened(path) as picture:
        flat = _eight_bit(picture).convert(_MODES[c])
    fitted = np.array(ImageOps.fit(flat, (w, h), Image.Resampling.BILINEAR), dtype=np.float32)
    return torch.from_numpy(fitted).view(h, w, c).permute(2, 0, 1).contiguous() / 255


def _opened(path: Path) -> Image.Image:
    """The picture with only its header read. A warning of a decompression bomb counts as one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        picture = Image.open(path, formats=_DECODERS)
    if picture.width * picture.height > _MOST_PIXELS:
        picture.close()
        raise ValueError(f"{path} has more than {_MOST_PIXELS} pixels")
    return picture


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Pillow would cut 16-bit grey off at 255 instead of scaling it."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture, dtype=np.float32) / 257).clip(0, 255).astype(np.uint8))


def _broken(paths: Sequence[Path]) -> str:
    if not paths:
        return ""
    named = ", ".join(path.name for path in paths[:_MOST_NAMED])
    return f"{len(paths)} unreadable images were skipped: {named}{', ...' if len(paths) > _MOST_NAMED else ''}"
