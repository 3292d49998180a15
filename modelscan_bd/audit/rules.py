"""The ids of the rules that several readers tell of; each is a file in `rules/`."""

from __future__ import annotations

from typing import Final

RUNS_CODE: Final = "BD901"
UNKNOWN_NAME: Final = "BD902"
UNREADABLE: Final = "BD903"
TWO_WAYS: Final = "BD904"
HIDDEN: Final = "BD905"
OVER_BUDGET: Final = "BD906"
LEAVES: Final = "BD907"
WRAPPED: Final = "BD908"
OVERRIDES: Final = "BD909"
CONTRADICTS: Final = "BD910"
