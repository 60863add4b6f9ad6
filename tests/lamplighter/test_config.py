"""Settings by dotted key."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lamplighter.config import Repository, load_config
from lamplighter.errors import ConfigError


@pytest.fixture
def config() -> Repository:
    """Some settings."""
    return Repository(
        {"queue": {"default": "kafka", "tries": 3, "loud": True, "none": None, "port": "9092", "odd": "--5"}}
    )


def test_keys_reach_into_sections(config: Repository) -> None:
    assert (config.get("queue.default"), config.get("queue.nothing", 7), config.get("no.such", 8)) == ("kafka", 7, 8)


def test_null_is_a_value(config: Repository) -> None:
    assert (config.has("queue.none"), config.get("queue.none", 7), config.has("queue.nothing")) == (True, None, False)


def test_setting_makes_sections(config: Repository) -> None:
    config.set("a.b.c", 1)

    assert config.mapping("a") == {"b": {"c": 1}}


def test_setting_leaves_what_stands_beside(config: Repository) -> None:
    config.set("frozen", MappingProxyType({"a": 1}))

    config.set("frozen.b", 2)

    assert config.mapping("frozen") == {"a": 1, "b": 2}


@pytest.mark.parametrize(("given", "read"), [("1", True), ("0", False), (True, True), (False, False)])
def test_the_digits_of_the_environment_are_true_and_false(config: Repository, given: object, read: bool) -> None:
    config.set("queue.flag", given)

    assert config.boolean("queue.flag") is read


def test_typed_getters(config: Repository) -> None:
    assert (config.string("queue.default"), config.integer("queue.tries"), config.integer("queue.port")) == (
        "kafka",
        3,
        9092,
    )
    assert config.boolean("queue.loud") is True


@pytest.mark.parametrize(
    ("getter", "key"),
    [
        ("string", "queue.tries"),
        ("integer", "queue.loud"),
        ("boolean", "queue.default"),
        ("mapping", "queue.default"),
        ("string", "queue.none"),
        ("integer", "queue.odd"),
    ],
)
def test_another_type_names_the_key(config: Repository, getter: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}', the key '{key.partition('.')[2]}' of config/queue\.py"):
        getattr(config, getter)(key)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1", "no dictionary"),
        ("config = 5", "no dictionary"),
        ("1/0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
        ("exit()", "SystemExit"),
    ],
)
def test_a_file_that_breaks_is_named(tmp_path: Path, text: str, why: Any) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "mail.py").write_text(text)

    with pytest.raises(ConfigError, match=rf"config/mail\.py.*{why}"):
        load_config(folder)


def test_each_file_is_a_section(tmp_path: Path) -> None:
    (tmp_path / "mail.py").write_text("config = {'host': 'a'}")
    (tmp_path / "app.py").write_text("config = {}")

    assert load_config(tmp_path).all() == {"mail": {"host": "a"}, "app": {}}


def test_what_an_editor_leaves_beside_a_file_is_no_section(tmp_path: Path) -> None:
    (tmp_path / "mail.py").write_text("config = {}")
    (tmp_path / "._mail.py").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".#mail.py").symlink_to("me@host.1234")

    assert load_config(tmp_path).all() == {"mail": {}}
