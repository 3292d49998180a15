"""What a text in a file is: plain words, a path or an address, or something that a careless tool would run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelscan_bd.audit.remark import Remark
from modelscan_bd.grades import Confidence, Severity

_READ = 2**20  # characters of one text
_ORDER = tuple(Severity)

# (what it is, how grave, pattern); the first that fits is told. No pattern can take longer than the text is long.
_SIGNS = (
    (
        "calls Python functions that run commands",
        Severity.MEDIUM,
        r"__import__\s*\(|\b(os\.(system|popen|exec[lv]\w*)|subprocess\.\w+|pty\.spawn|builtins\.\w+)\s*\("
        r"|(?<![\w.])(eval|exec|compile)\s*\(\s*['\"\w]|\bpickle\.loads?\s*\(|\bmarshal\.loads\s*\(",
    ),
    (
        "holds a shell command",
        Severity.MEDIUM,
        r"^#!\s{0,4}/|\b(curl|wget)\b[^\n|]{0,100}\|\s{0,4}(ba|z|k)?sh\b|/dev/tcp/|\brm\s{1,4}-rf\s|\bnc\s{1,4}-e\b"
        r"|powershell(\.exe)?\s{1,4}-|\$\(\s{0,4}(curl|wget|bash|sh|rm|cat|id|whoami|touch)\b",
    ),
    (
        "holds a script for a browser",
        Severity.MEDIUM,
        r"<script\b|javascript:|<iframe\b|<(img|svg|body)\b[^>]{0,100}\bon(error|load)\s{0,4}=",
    ),
    (
        "holds a template that runs code",
        Severity.MEDIUM,
        r"\$\{jndi:|\{\{[^}]{0,100}__(class|globals|subclasses|init)__",
    ),
    ("holds an encoded pickle", Severity.MEDIUM, r"\bgA[JSR-V][A-Za-z0-9+/]{24}"),
    ("holds characters that hide or turn text", Severity.LOW, r"[\u202a-\u202e\u2066-\u2069]|\x1b\["),
    ("names a web address", Severity.INFO, r"\bhttps?://"),
    (
        "names a file of some machine",
        Severity.INFO,
        r"(^|[\s'\"=(])(/(home|root|etc|tmp|Users|var|proc)/|[A-Z]:\\\w|\.\./)",
    ),
)


def remarks(
    text: str, rule: str, where: str, place: str, *, most: Severity = Severity.MEDIUM, least: Severity = Severity.INFO
) -> Iterator[Remark]:
    """At most one remark upon what the text is, no graver than `most` and none below `least`; and one if it is long.

    `where` fits behind "The".
    """
    if len(text) > _READ:
        message = f"The {where} is longer than {_READ} characters and was not read to its end."
        yield Remark(rule=rule, severity=most, confidence=Confidence.LOW, message=message, place=shown(place))
    for what, severity, pattern in _SIGNS:
        found = re.search(pattern, text[:_READ], re.IGNORECASE if "script" in what or "shell" in what else 0)
        if found and _ORDER.index(severity) >= _ORDER.index(least):
            quoted = shown(text[found.start() : found.start() + 60], 60)
            yield Remark(
                rule=rule,
                severity=min(severity, most, key=_ORDER.index),
                confidence=Confidence.LOW,
                message=f"The {where} {what} ('{quoted}').",
                place=shown(place),
            )
            return


def shown(text: str, most: int = 80) -> str:
    """A text from a file, as one short printable line."""
    return repr(text[: most + 1])[1:-1][:most] + ("..." if len(text) > most else "")
