"""What a text in a file is: plain words, a path or an address, or something that a careless tool would run."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from modelscan_bd.audit.pickles import imports_code
from modelscan_bd.audit.remark import Remark
from modelscan_bd.audit.texts import shown
from modelscan_bd.grades import Confidence, Severity

_READ: Final = 2**20  # characters of one text
_ORDER: Final = tuple(Severity)


@final
@dataclass(frozen=True, kw_only=True)
class Sign:
    """`what` a text does that fits the pattern. No pattern can take longer than the text is long."""

    what: str
    severity: Severity
    pattern: re.Pattern[str]
    of_source: bool = False  # whether lines of a network's own source may look like it


def _sign(what: str, severity: Severity, *patterns: str, of_source: bool = False, flags: int = 0) -> Sign:
    return Sign(what=what, severity=severity, pattern=re.compile("|".join(patterns), flags), of_source=of_source)


_SIGNS: Final = (  # the first that fits is told; what is high nobody writes but to have it run
    _sign(
        "runs a command where it is evaluated as Python",
        Severity.HIGH,
        r"__import__\s{0,4}\(\s{0,4}['\"]\w+['\"]\s{0,4}\)\s{0,4}\.",
        r"\b(os\.(system|popen|exec[lv]\w{0,2})|subprocess\.\w+|pty\.spawn)\s{0,4}\(\s{0,4}[\['\"]",
        of_source=True,
    ),
    _sign(
        "downloads a program and runs it, or opens a shell to another machine",
        Severity.HIGH,
        r"\b(curl|wget)\b[^\n|]{0,100}\|\s{0,4}(sudo\s{1,4})?(ba|z|k)?sh\b",
        r"/dev/tcp/|\bnc\s{1,4}-e\b|\$\(\s{0,4}(curl|wget)\b",
        flags=re.IGNORECASE,
    ),
    _sign(
        "holds a script for a browser",
        Severity.HIGH,
        r"<script\b[^>]{0,200}>|<(img|svg|body|iframe)\b[^>]{0,100}\bon\w{3,20}\s{0,4}=",
        r"\b(href|src)\s{0,4}=\s{0,4}['\"]?javascript:",
        flags=re.IGNORECASE,
    ),
    _sign(
        "holds a template that runs code",
        Severity.HIGH,
        r"\$\{jndi:|\{\{[^}]{0,100}__(class|globals|subclasses|init)__",
    ),
    _sign(
        "takes over the terminal that shows it",  # colours alone are what a copied log has
        Severity.HIGH,
        r"\x1b[\]PX^_]|[\x90\x9d]|(\x1b\[|\x9b)([0-9;?]{0,20}[A-HJKSTfhlsu]|(0;)?8m)",
    ),
    _sign("turns the direction of what is read", Severity.HIGH, r"[\u202d\u202e]"),
    _sign(
        "calls Python functions that run code",
        Severity.MEDIUM,
        r"__import__\s{0,4}\(|\b(os\.(system|popen|exec[lv]\w{0,2})|subprocess\.\w+|pty\.spawn|builtins\.\w+)\s{0,4}\(",
        r"(?<![\w.])(eval|exec|compile)\s{0,4}\(\s{0,4}(['\"]|(base64|bytes|chr|codecs|compile|open|zlib)\b)|\bpickle\.loads?\s{0,4}\(|\bmarshal\.loads\s{0,4}\(",
        of_source=True,
    ),
    _sign(
        "holds a shell command",
        Severity.MEDIUM,
        r"^#!\s{0,4}/|\brm\s{1,4}-rf\s|powershell(\.exe)?\s{1,4}-|\$\(\s{0,4}(bash|sh|rm|cat|id|whoami|touch)\b",
        flags=re.IGNORECASE,
    ),
    _sign("holds a part of a web page", Severity.MEDIUM, r"javascript:|<iframe\b", flags=re.IGNORECASE),
    _sign("holds an encoded pickle", Severity.MEDIUM, r"\bgA[JSR-V][A-Za-z0-9+/]{24,}={0,2}"),
    _sign("holds characters that hide or turn text", Severity.LOW, r"[\u202a-\u202e\u2066-\u2069]|\x1b\["),
    _sign("names a web address", Severity.INFO, r"\bhttps?://"),
    _sign(
        "names a file of some machine",
        Severity.INFO,
        r"(^|[\s'\"=(])(/(home|root|etc|tmp|Users|var|proc)/|[A-Z]:\\\w|\.\./)",
        of_source=True,
    ),
)


def remarks(
    text: str, rule: str, where: str, place: str, *, source: bool = False, least: Severity = Severity.INFO
) -> Iterator[Remark]:
    """At most one remark upon what the text does, and none below `least`; and one if it is long.

    `where` fits behind "The"; `source` where lines of source are usual, which then are of low severity.
    """
    if len(text) > _READ:
        message = f"The {where} is longer than {_READ} characters and was not read to its end."
        severity = Severity.LOW if source else Severity.MEDIUM
        yield Remark(rule=rule, severity=severity, confidence=Confidence.LOW, message=message, place=shown(place))
    for sign in _SIGNS:
        found = sign.pattern.search(text[:_READ])
        if found and _ORDER.index(sign.severity) >= _ORDER.index(least):
            quoted = shown(text[found.start() : found.start() + 60], 60)
            yield Remark(
                rule=rule,
                severity=Severity.LOW if source and sign.of_source else _severity(sign, found),
                confidence=Confidence.LOW,
                message=f"The {where} {sign.what} ('{quoted}').",
                place=shown(place),
            )
            return


def _severity(sign: Sign, found: re.Match[str]) -> Severity:
    """An encoded pickle is as grave as what it imports."""
    if "pickle" in sign.what and "encoded" in sign.what and imports_code(_decoded(found[0])):
        return Severity.HIGH
    return sign.severity


def _decoded(text: str) -> bytes:
    text = text.rstrip("=")
    return base64.b64decode(text + "A" * (-len(text) % 4))
