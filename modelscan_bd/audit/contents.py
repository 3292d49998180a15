"""Chooses who reads a file, by its content alone. A file may be several things at once, and is then read as each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, final

from modelscan_bd.audit import packed, pickles, recognise, safetensors, torchscript
from modelscan_bd.audit.data import Data, read
from modelscan_bd.audit.ledger import Exhausted, Ledger
from modelscan_bd.audit.remark import Budget, Remark
from modelscan_bd.audit.rules import OVER_BUDGET, UNREADABLE
from modelscan_bd.audit.zips import Members, Zip, is_zip
from modelscan_bd.grades import Severity

Format: TypeAlias = Callable[[Data, str, Budget], Iterable[Remark] | None]
Kind: TypeAlias = Callable[[Mapping[str, bytes], str, Budget], Iterable[Remark] | None]

_FORMATS: tuple[Format, ...] = (safetensors.remarks, recognise.remarks)
_USUAL: Final = Budget()
_KINDS_OF_ZIP: tuple[Kind, ...] = (torchscript.remarks, recognise.archive_remarks)


def audit(path: Path, budget: Budget = _USUAL) -> tuple[Remark, ...]:
    """Remarks upon a file, the gravest first. Raises UsageError where there is no such file."""
    return examine(read(path, budget), budget, path)


def examine(data: Data, budget: Budget = _USUAL, path: Path | None = None) -> tuple[Remark, ...]:
    """Remarks upon a file's bytes. With `path`, files beside it that it names are looked at too."""
    ledger = Ledger(budget, len(data))
    Contents(ledger, path).look(data, "")
    return ledger.close()


@final
@dataclass(frozen=True)
class Contents:
    """Reads contents within contents, `depth` of them."""

    ledger: Ledger
    path: Path | None
    depth: int = 0

    def look(self, data: Data, place: str) -> None:
        """All remarks upon one content. A budget that is used up ends the whole audit, and is told here."""
        if self.depth > self.ledger.budget.nesting:
            message = f"Files lie in files more than {self.ledger.budget.nesting} deep; those were not looked at."
            self.ledger.note(OVER_BUDGET, Severity.HIGH, message, place)
            return
        try:
            known = self._read_as_each(data, place)
        except Exhausted as error:
            if self.depth:
                raise
            message = f"The file costs more to read than a model may: {error}. The rest was not looked at."
            self.ledger.note(OVER_BUDGET, error.severity, message, place)
            return
        if not known and not self.depth:
            self.ledger.note(UNREADABLE, Severity.MEDIUM, "The file is of no format that bdscan knows.", place)

    def _read_as_each(self, data: Data, place: str) -> bool:
        inside = Contents(self.ledger, None, self.depth + 1).look
        if pickles.is_pickle(data):
            pickles.audit(data, place, self.ledger, inside)
            known = True
        else:
            known = pickles.probe(data, place, self.ledger, inside)
        known |= is_zip(data) and self._read_zip(data, place)
        known |= packed.audit(data, place, self.ledger, inside)
        return known or self._read_others(data, place)

    def _read_zip(self, data: Data, place: str) -> bool:
        archive = Zip(data, place, self.ledger, Contents(self.ledger, None, self.depth + 1).look)
        if not archive.audit():
            return False
        for kind in _KINDS_OF_ZIP:
            found = kind(Members(archive), place, self.ledger.budget)
            if found is not None:
                self._add(found)
                break
        return True

    def _read_others(self, data: Data, place: str) -> bool:
        for remarks in (self._read_onnx, *_FORMATS):
            found = remarks(data, place, self.ledger.budget)
            if found is not None:
                self._add(found)
                return True
        return False

    def _read_onnx(self, data: Data, place: str, budget: Budget) -> Iterable[Remark] | None:
        if not (recognise.is_onnx(data) or recognise.is_cut_onnx(data)):
            return None
        from modelscan_bd.audit import onnx_model  # takes half a second, which others need not wait for

        return onnx_model.all_remarks(bytes(data), place, budget, self.path)

    def _add(self, remarks: Iterable[Remark]) -> None:
        for remark in remarks:
            self.ledger.add(remark)
            self.ledger.tick()
