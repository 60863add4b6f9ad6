"""`.env.example` and the variables that config/ reads."""

import ast
import re
from pathlib import Path

import pytest

from lamplighter.support.discovery import load_settings

ROOT = Path(__file__).parents[2]


def variables_of_config() -> set[str]:
    """The names in calls of env() in config/*.py."""
    names = set()
    for path in (ROOT / "config").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "env":
                assert isinstance(node.args[0], ast.Constant)
                names.add(str(node.args[0].value))
    return names


def lines_of_example() -> list[str]:
    """The lines of the example."""
    return (ROOT / ".env.example").read_text().splitlines()


def test_every_variable_that_config_reads_is_in_the_example_and_no_other() -> None:
    named = {match[1] for line in lines_of_example() if (match := re.match(r"(?:# )?([A-Z][A-Z0-9_]*)=", line))}

    assert named == variables_of_config()


def test_no_variable_stands_there_twice_and_no_line_is_long() -> None:
    names = [match[1] for line in lines_of_example() if (match := re.match(r"(?:# )?([A-Z][A-Z0-9_]*)=", line))]

    assert len(names) == len(set(names))
    assert [line for line in lines_of_example() if len(line) > 120] == []


def test_every_variable_has_a_line_of_comment() -> None:
    lines = lines_of_example()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r"(?:# )?[A-Z][A-Z0-9_]*=", line) and not re.match(r"# .*[.:].*", before)
    ]

    assert bare == []


@pytest.mark.parametrize(
    ("variable", "file"), [("QUEUE_CONNECTION", "queue"), ("LOG_CHANNEL", "logging"), ("CACHE_STORE", "cache")]
)
def test_the_word_null_chooses_what_is_named_so(monkeypatch: pytest.MonkeyPatch, variable: str, file: str) -> None:
    monkeypatch.setenv(variable, "null")

    assert load_settings(ROOT / f"config/{file}.py")["default"] == "null"
