"""What can go wrong, as one sentence a user can act on: what happened, where, and what to do."""

from __future__ import annotations


class BdscanError(Exception):
    """Ends a scan. The command line prints its sentence and leaves with `exit_code`."""

    exit_code = 2

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(f"{what.rstrip('.')}. {remedy}".rstrip())
        self.what = what
        self.remedy = remedy


class UsageError(BdscanError):
    """The request does not make sense as it stands: a flag, a name, a folder."""


class UnreadableModel(BdscanError):
    """The file is broken, or lies about its own contents."""


class UnsupportedModel(BdscanError):
    """The file is understood for what it is, and is nothing that bdscan can measure."""

    exit_code = 3


class UnsafeModel(BdscanError):
    """The file asks its loader to run code. This is a finding about the file, and ends in the verdict malicious."""

    exit_code = 1


class Interrupted(BdscanError):
    """Somebody wanted it to end; what is done is kept."""

    exit_code = 130


class CannotMeasure(Exception):
    """Raised by a detector that does not apply to this model; its sentence becomes the reason for the skip."""
