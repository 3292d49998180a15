"""Untrusted text (paths, tensor names, metadata, messages made of them) on its way to a terminal or to Markdown."""

from __future__ import annotations

import re

_LONGEST = 500  # characters of one untrusted text
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~&@!$])")
_AUTOLINK = re.compile(r"(://|www\.)", re.IGNORECASE)


def plain(text: str) -> str:
    r"""One line without any character that a terminal or a reader's eye would obey instead of show.

    >>> plain("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)


def markdown(text: str) -> str:
    r"""Plain text in which Markdown and HTML see nothing but text.

    >>> markdown("<b>*a*</b>")
    '\\<b\\>\\*a\\*\\</b\\>'
    """
    escaped = _MARKDOWN.sub(r"\\\1", plain(text))
    return _AUTOLINK.sub(lambda match: f"{match[0][:-1]}\\{match[0][-1]}", escaped)


def code(text: str) -> str:
    """A Markdown code span, with a fence longer than any run of backticks inside; safe in a table too."""
    inside = plain(text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", inside)), default=0))
    pad = " " if "`" in inside else ""
    return f"{fence}{pad}{inside}{pad}{fence}"
