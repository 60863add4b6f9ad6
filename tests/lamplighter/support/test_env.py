"""Environment variables."""

import functools
from decimal import Decimal
from typing import Any

import pytest

from lamplighter.errors import ConfigError
from lamplighter.support.env import env


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("(TRUE)", True),
        ("False", False),
        ("null", None),
        ("(null)", None),
        ("empty", ""),
        ("(Empty)", ""),
        ("", ""),
        ("5", "5"),
        ("'quoted'", "quoted"),
        ('"quoted"', "quoted"),
        ("'half", "'half"),
        ("  spaces  ", "  spaces  "),
        ('"', '"'),
        ('""', ""),
        ("\"a'", "\"a'"),
        ('"two\nlines"', '"two\nlines"'),
    ],
)
def test_words_have_laravels_meaning(monkeypatch: pytest.MonkeyPatch, text: str, value: Any) -> None:
    monkeypatch.setenv("LAMP", text)

    assert env("LAMP", "default") == value


def test_the_default_is_for_what_is_missing_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMP", raising=False)

    assert env("LAMP", "default") == "default"


def test_a_cast_that_fails_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMP", "many")

    with pytest.raises(ConfigError, match=r"LAMP.*many"):
        env("LAMP", cast=int)


def test_a_cast_may_refuse_a_text_in_a_way_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMP", "many")

    with pytest.raises(ConfigError, match=r"LAMP is 'many', which is no Decimal"):
        env("LAMP", cast=Decimal)


def test_a_cast_that_has_no_name_fails_clearly_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMP", "many")

    with pytest.raises(ConfigError, match=r"LAMP.*many"):
        env("LAMP", cast=functools.partial(int, base=16))


def test_a_secret_that_can_not_be_cast_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMP_PASSWORD", "hunter2")

    with pytest.raises(ConfigError, match="LAMP_PASSWORD") as caught:
        env("LAMP_PASSWORD", cast=int)

    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(("text", "value"), [("true", True), ("null", None)])
def test_a_word_is_not_cast(monkeypatch: pytest.MonkeyPatch, text: str, value: object) -> None:
    monkeypatch.setenv("LAMP", text)

    assert env("LAMP", cast=int) is value
