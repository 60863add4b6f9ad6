"""Files like `.env`, beside what Laravel's own reader makes of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from lamplighter.support.dotenv import WrongLine, read_dotenv

GOLDEN = json.loads((Path(__file__).parents[2] / "golden/dotenv.json").read_text())
ENVIRONMENT: dict[str, str] = GOLDEN["meta"]["environment"]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: ascii(case["text"]))
def test_a_text_means_what_it_means_to_laravel(case: dict[str, Any]) -> None:
    text = case["text"].removeprefix("\ufeff")  # the encoding takes it away
    if "refused" in case:
        with pytest.raises(WrongLine):
            read_dotenv(text, ENVIRONMENT)
        return

    values = read_dotenv(text, ENVIRONMENT)

    # The library leaves out what the real environment says anyway.
    assert {name: value for name, value in values.items() if name not in ENVIRONMENT} == case["values"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('# see A="x\nB=c\nD="e"', {"B": "c", "D": "e"}),
        ('A=b="c\nD=e', {"A": 'b="c', "D": "e"}),
        ("A='=\"'\nB=c", {"A": '="', "B": "c"}),
        ('A="b\n" # c\nD="e"', {"A": "b\n", "D": "e"}),
        ("export A=b", {"A": "b"}),
    ],
)
def test_no_line_is_lost_where_laravel_takes_it_for_a_quotes_end(text: str, values: dict[str, str]) -> None:
    assert read_dotenv(text, {}) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('A=1\n\n# c\nB="hunter2', "line 4 opens a quote"),
        ('A=1\nB="hunter2\nC="d"', "line 2 has more"),
        ("A=hunter2 and more", "line 1 has more"),
        (r'A="hunter2\q"', r"line 1 has a backslash before 'q'"),
        ("hunter2: x", "line 1 is no NAME=value"),
        ("A=hun\0ter2", "line 1 has a NUL byte"),
    ],
)
def test_a_line_that_is_refused_is_named_and_not_shown(text: str, said: str) -> None:
    with pytest.raises(WrongLine, match=said) as caught:
        read_dotenv(text, {})

    assert "hunter2" not in str(caught.value)


def test_a_quote_that_nobody_closes_is_found_at_once_in_a_long_file() -> None:
    text = 'A="x\n' + "B=0123456789012345678901234567890123456789\n" * 20_000  # took minutes when read anew each line

    with pytest.raises(WrongLine, match="line 1 opens a quote"):
        read_dotenv(text, {})


@pytest.mark.parametrize(
    ("text", "value"), [('A="x\n\\"\ny"', 'x\n"\ny'), ('A="x\\\\\ny"', "x\\\ny"), ('A="\n\n"', "\n\n")]
)
def test_a_value_of_several_lines_ends_at_its_own_quote(text: str, value: str) -> None:
    assert read_dotenv(f"{text}\nB=c", {}) == {"A": value, "B": "c"}


def test_the_word_export_is_taken_away_at_the_beginning_alone() -> None:
    with pytest.raises(WrongLine, match="is no NAME=value"):
        read_dotenv("exportAexport B=c", {})
