"""Sections of the configuration as dataclasses."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from lamplighter.errors import ConfigError
from lamplighter.support.options import parse_options


@dataclass(frozen=True, kw_only=True)
class Options:
    """One field of each kind."""

    name: str
    port: int = 1
    wait: float = 0.5
    loud: bool = False
    level: Literal["low", "high"] = "low"
    sleep: float | Literal[False] = 5.0
    words: tuple[str, ...] = ()
    user: str | None = None
    limit: int | None = None
    raw: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("key", "given", "read"),
    [
        ("port", "9092", 9092),
        ("wait", "2", 2.0),
        ("wait", 3, 3.0),
        ("loud", "1", True),
        ("sleep", False, False),
        ("sleep", "7", 7.0),
        ("words", "a, b", ("a", "b")),
        ("words", ["a"], ("a",)),
        ("limit", "", None),
        ("limit", "4", 4),
        ("user", None, None),
        ("raw", {"x": 1}, {"x": 1}),
    ],
)
def test_text_from_the_environment_is_read_as_what_its_field_needs(key: str, given: Any, read: Any) -> None:
    assert getattr(parse_options(Options, {"name": "n", key: given}, where="config/x.py"), key) == read


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("port", "many"),
        ("port", True),
        ("port", 1.5),
        ("wait", "soon"),
        ("wait", "nan"),
        ("wait", "9" * 400),
        ("wait", 10**400),
        ("wait", False),
        ("sleep", "-inf"),
        ("loud", "yes"),
        ("level", "middle"),
        ("words", 5),
        ("raw", []),
        ("name", 7),
    ],
)
def test_an_ill_typed_value_names_file_and_key_but_not_the_value(key: str, given: Any) -> None:
    with pytest.raises(ConfigError, match=rf"config/x\.py.*'{key}'") as caught:
        parse_options(Options, {"name": "n", key: given}, where="config/x.py")

    assert repr(given) not in str(caught.value).replace(f"'{key}'", "")


def test_a_word_that_is_not_among_the_known_ones_is_told_as_that() -> None:
    with pytest.raises(ConfigError, match="has another word for the key 'level', which takes low or high"):
        parse_options(Options, {"name": "n", "level": "middle"}, where="config/x.py")


@pytest.mark.parametrize("given", [float("inf"), float("-inf"), float("nan")])
def test_what_is_no_number_to_count_with_is_told(given: float) -> None:
    with pytest.raises(ConfigError, match=f"has {given} for the key 'wait', which takes float"):
        parse_options(Options, {"name": "n", "wait": given}, where="config/x.py")


def test_what_is_missing_is_told_as_in_the_environment() -> None:
    with pytest.raises(ConfigError, match="has null for the key 'port', which takes int"):
        parse_options(Options, {"name": "n", "port": None}, where="config/x.py")


@pytest.mark.parametrize(
    ("key", "given", "told"),
    [
        ("words", ["a", 1], "has other items for the key 'words', which takes a list of str"),
        ("words", 5, "has a int for the key 'words', which takes a list of str"),
        ("raw", "x", "has a str for the key 'raw', which takes a dictionary"),
        ("port", "", "has an empty text for the key 'port', which takes int"),
    ],
)
def test_what_a_key_takes_is_told_in_words(key: str, given: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_options(Options, {"name": "n", key: given}, where="config/x.py")


def test_a_choice_that_may_be_null_is_told_as_a_choice() -> None:
    @dataclass(frozen=True)
    class Failed:
        driver: Literal["database"] | None = None

    with pytest.raises(ConfigError, match="has another word for the key 'driver'"):
        parse_options(Failed, {"driver": "databse"}, where="config/queue.py")


@pytest.mark.parametrize(
    ("key", "given"),
    [("user", "caf\udce9"), ("level", "caf\udce9"), ("words", ["a", "caf\udce9"]), ("raw", {"a": ["caf\udce9"]})],
)
def test_a_text_that_no_client_takes_is_refused(key: str, given: object) -> None:
    with pytest.raises(ConfigError, match=f"has a text that is no UTF-8 for the key '{key}'"):
        parse_options(Options, {"name": "n", key: given}, where="config/x.py")


def test_two_ways_to_say_null_are_told_once() -> None:
    @dataclass(frozen=True)
    class Failed:
        driver: Literal["database", "null"] | None = None

    with pytest.raises(ConfigError, match=r"which takes database or null\.$"):
        parse_options(Failed, {"driver": "redis"}, where="config/queue.py")


def test_an_unknown_key_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"config/kafka\.py has the unknown key 'porst'; it knows .*port"):
        parse_options(Options, {"name": "n", "porst": 1}, where=lambda key: "config/kafka.py")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="'name'"):
        parse_options(Options, {}, where="config/x.py")


@pytest.mark.parametrize("values", [None, "text", [1]])
def test_a_section_that_is_no_dictionary_is_told(values: Any) -> None:
    with pytest.raises(ConfigError, match=r"config/x\.py has to be a dictionary of settings, and is"):
        parse_options(Options, values, where="config/x.py")
