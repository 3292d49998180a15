"""From entry points to plug-ins. Built-in and third-party detectors come in by the same door."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from modelscan_bd.errors import UsageError

if TYPE_CHECKING:
    from modelscan_bd.types import Detector

GROUP = "modelscan_bd.detectors"


def offered() -> tuple[str, ...]:
    """The ids of all installed detectors, none of which is loaded."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def installed() -> dict[str, Detector]:
    """Every installed detector by id, in alphabetical order, with default settings. Raises UsageError as `by_id`."""
    return by_id(tuple(entry_points(group=GROUP)))


def by_id(points: Iterable[EntryPoint]) -> dict[str, Detector]:
    """Loads plug-ins and sorts them by id.

    Raises UsageError where two claim one id, where one does not import, or where its card has another id.
    """
    found: dict[str, Detector] = {}
    for point in sorted(points, key=lambda p: p.name):
        if point.name in found:
            raise UsageError(f"two installed packages offer a detector '{point.name}'", remedy="Uninstall one of them.")
        found[point.name] = _load(point)
    return found


def select(chosen: Sequence[str], among: Mapping[str, Detector]) -> tuple[Detector, ...]:
    """The chosen detectors, or all of them. Raises UsageError as `must_be_among`."""
    must_be_among(chosen, among)
    return tuple(among[name] for name in dict.fromkeys(chosen or among))


def must_be_among(chosen: Sequence[str], known: Collection[str]) -> None:
    """Raises UsageError for an id that nobody offers."""
    for name in chosen:
        if name not in known:
            raise UsageError(f"there is no detector '{name}'", remedy=f"Installed are: {', '.join(known) or 'none'}.")


def _load(point: EntryPoint) -> Detector:
    try:
        detector: Detector = point.load()()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"the detector '{point.name}' ({point.value}) does not load: {error}", remedy="Reinstall its package."
        ) from error
    if detector.card.id != point.name:
        raise UsageError(f"the detector installed as '{point.name}' calls itself '{detector.card.id}' on its card")
    return detector
