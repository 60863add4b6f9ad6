"""Environment variables."""

import functools
import os
from pathlib import Path
from typing import Any

import pytest

from lamplighter.errors import ConfigError
from lamplighter.support.env import env, load_environment


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


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env.testing").write_bytes(b"LAMP_C=caf\xe9\n")

    with pytest.raises(ConfigError, match=r"\.env\.testing.*UTF-8"):
        load_environment(tmp_path, "testing")


@pytest.mark.parametrize("line", ["LAMP_D: value", 'LAMP_D="no end'])
def test_a_line_that_says_nothing_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"# a comment\nLAMP_C=1\n{line}\n")

    with pytest.raises(ConfigError, match=r"\.env can't be read: line 3"):
        load_environment(tmp_path, None)


def test_the_real_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LAMP_A=file\nLAMP_B=file\n")
    monkeypatch.setenv("LAMP_A", "real")
    monkeypatch.setenv("LAMP_B", "gone")
    monkeypatch.delenv("LAMP_B")

    load_environment(tmp_path, None)

    assert (os.environ["LAMP_A"], os.environ["LAMP_B"]) == ("real", "file")


@pytest.mark.parametrize(("name", "file"), [("testing", ".env.testing"), ("other", ".env"), (None, ".env")])
def test_an_environment_may_have_a_file_of_its_own(tmp_path: Path, name: str | None, file: str) -> None:
    (tmp_path / ".env").write_text("")
    (tmp_path / ".env.testing").write_text("")

    assert load_environment(tmp_path, name) == file


def test_a_mark_of_the_byte_order_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAMP_A", "gone")
    monkeypatch.delenv("LAMP_A")
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfLAMP_A=1\n")

    load_environment(tmp_path, None)

    assert os.environ["LAMP_A"] == "1"
