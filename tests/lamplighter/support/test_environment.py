"""The environment of an application, and the files that its variables come from."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.errors import ConfigError
from lamplighter.support.environment import MEMORY, is_production, load_environment

SHOW = """
import os, sys
from pathlib import Path
from lamplighter.support.environment import load_environment
base, asked, *names = sys.argv[1:]
found = load_environment(Path(base), asked or None)
print(found.name, found.file, *[os.environ.get(name) for name in names])
"""


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """An environment without APP_ENV, which is left as it was found."""
    before = dict(os.environ)
    for name in ("APP_ENV", MEMORY):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


def write(folder: Path, **files: str) -> Path:
    """Files of an application: `_testing` is .env.testing."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f".env{name.replace('_', '.') if name != 'plain' else ''}").write_text(text)
    return folder


def child(base: Path, asked: str = "", *names: str, **environment: str) -> str:
    """What a child process of this one finds."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(base), asked, *names],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


# reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env.testing").write_bytes(b"LAMP_C=caf\xe9\n")

    with pytest.raises(ConfigError, match=r"\.env\.testing.*UTF-8"):
        load_environment(tmp_path, "testing")


@pytest.mark.parametrize("line", ["LAMP_D: value", 'LAMP_D="no end', "LAMP_D=two words"])
def test_a_line_that_says_nothing_is_named(tmp_path: Path, line: str) -> None:
    write(tmp_path, plain=f"# a comment\nLAMP_C=1\n{line}\n")

    with pytest.raises(ConfigError, match=r"\.env can't be read: line 3"):
        load_environment(tmp_path)


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()

    with pytest.raises(ConfigError, match=r"\.env can't be read: it is a folder"):
        load_environment(tmp_path)


def test_a_link_to_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env.testing").symlink_to("secrets/env")
    write(tmp_path, plain="APP_ENV=local")

    with pytest.raises(ConfigError, match=r"\.env\.testing can't be read: it is a link to secrets/env"):
        load_environment(tmp_path, "testing")


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")

    with pytest.raises(ConfigError, match=r"\.env can't be read: it is no file"):
        load_environment(tmp_path)


def test_a_file_may_be_hidden_by_the_null_device(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to("/dev/null")

    assert load_environment(tmp_path).file is None


def test_a_name_too_long_for_a_file_has_none(tmp_path: Path) -> None:
    write(tmp_path, plain="APP_ENV=local")

    assert load_environment(tmp_path, "a" * 300).file == ".env"


def test_a_mark_of_the_byte_order_is_skipped(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfLAMP_A=1\n")

    load_environment(tmp_path)

    assert os.environ["LAMP_A"] == "1"


def test_the_real_environment_wins_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, plain='LAMP_A=file\nLAMP_B=file\nLAMP_C="${LAMP_A}"\n')
    os.environ["LAMP_A"] = "real"

    load_environment(tmp_path)

    assert [os.environ[name] for name in ("LAMP_A", "LAMP_B", "LAMP_C")] == ["real", "file", "real"]


@pytest.mark.parametrize(("name", "file"), [("testing", ".env.testing"), ("other", ".env"), (None, ".env")])
def test_an_environment_may_have_a_file_of_its_own(tmp_path: Path, name: str | None, file: str) -> None:
    write(tmp_path, plain="APP_ENV=local", _testing="")

    assert load_environment(tmp_path, name).file == file


@pytest.mark.parametrize("said", ["", "null", "empty"])
def test_a_name_that_is_left_blank_is_none(tmp_path: Path, said: str) -> None:
    write(tmp_path, plain=f"APP_ENV={said}")

    assert load_environment(tmp_path).name == "production"


# one file after another ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_later_file_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    write(tmp_path, plain="APP_ENV=local\nLAMP_DB=dev\nLAMP_ONLY=dev\n", _testing="APP_ENV=testing\nLAMP_DB=test\n")
    load_environment(tmp_path)

    found = load_environment(tmp_path, "testing")

    assert (found.name, found.file) == ("testing", ".env.testing")
    assert (os.environ["LAMP_DB"], os.environ.get("LAMP_ONLY")) == ("test", None)


def test_the_name_in_a_file_is_no_wish_for_another_file(tmp_path: Path) -> None:
    write(tmp_path, plain="APP_ENV=local\nLAMP_DB=plain\n", _local="LAMP_DB=local\n")
    load_environment(tmp_path)

    assert load_environment(tmp_path).file == ".env"


def test_what_the_program_has_set_since_is_no_longer_the_files(tmp_path: Path) -> None:
    write(tmp_path, plain="LAMP_DB=dev\n", _testing="LAMP_DB=test\n")
    load_environment(tmp_path)
    os.environ["LAMP_DB"] = "by hand"

    load_environment(tmp_path)

    assert os.environ["LAMP_DB"] == "by hand"


def test_a_child_process_knows_which_values_came_from_a_file(tmp_path: Path) -> None:
    write(tmp_path, plain="APP_ENV=local\nLAMP_DB=dev\n", _testing="APP_ENV=testing\nLAMP_DB=test\n")
    load_environment(tmp_path)

    assert child(tmp_path, "testing", "LAMP_DB") == "testing .env.testing test"
    assert child(tmp_path, "testing", "LAMP_DB", LAMP_DB="real") == "testing .env.testing real"


def test_a_child_process_reads_the_file_that_its_parent_was_asked_for(tmp_path: Path) -> None:
    write(tmp_path, plain="APP_ENV=local\nLAMP_DB=dev\nLAMP_ONLY=dev\n", _testing="LAMP_DB=test\n")
    load_environment(tmp_path, "testing")

    assert child(tmp_path, "", "LAMP_DB", "LAMP_ONLY") == "testing .env.testing test None"


def test_another_application_takes_over_nothing(tmp_path: Path) -> None:
    ours = write(tmp_path / "ours", _testing="LAMP_DB=ours\nLAMP_ONLY=ours\n")
    theirs = write(tmp_path / "theirs", plain="APP_ENV=local\nLAMP_DB=theirs\n")
    os.environ["LAMP_REAL"] = "real"
    load_environment(ours, "testing")

    assert child(theirs, "", "LAMP_DB", "LAMP_ONLY", "LAMP_REAL") == "local .env theirs None real"


def test_the_second_application_of_a_process_is_not_asked_for_what_the_first_was(tmp_path: Path) -> None:
    write(tmp_path, plain="APP_ENV=local\nLAMP_DB=dev\n", _testing="LAMP_DB=test\n")
    load_environment(tmp_path, "testing")

    assert load_environment(tmp_path).name == "local"
    assert os.environ["LAMP_DB"] == "dev"


@pytest.mark.parametrize("text", ["", "[", "{}", "[1]", '["/", "x", null, {}]', '["/", 1, null, 7]'])
def test_what_is_remembered_may_be_anything(tmp_path: Path, text: str) -> None:
    write(tmp_path, plain="APP_ENV=local\nLAMP_DB=dev\n")
    os.environ[MEMORY] = text

    assert load_environment(tmp_path).name == "local"


# production ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "name"),
    [("PRODUCTION", "production"), ("Production", "production"), ("' production '", "production"), ("prod", "prod")],
)
def test_production_is_known_however_it_is_written(tmp_path: Path, said: str, name: str) -> None:
    write(tmp_path, plain=f"APP_ENV={said}\n", _live=f"APP_ENV={said}\n")

    found = [load_environment(tmp_path).name, load_environment(tmp_path, "live").name]

    assert (found, is_production(name)) == ([name, name], True)


@pytest.mark.parametrize("asked", ["PRODUCTION", "Production"])
def test_productions_file_is_found_however_its_name_is_written(tmp_path: Path, asked: str) -> None:
    write(tmp_path, plain="APP_ENV=local\n", _production="LAMP_DB=live\n")

    found = load_environment(tmp_path, asked)

    assert (found.name, found.file) == ("production", ".env.production")


@pytest.mark.parametrize("name", ["local", "preproduction", "product", "", "pro d"])
def test_other_names_are_not_production(name: str) -> None:
    assert not is_production(name)


@pytest.mark.parametrize(
    "said", ["APP_ENV=production", "APP_ENV=PROD", "APP_ENV=Production", "APP_ENV=", "LAMP_DB=live"]
)
def test_a_name_without_a_file_is_an_error_where_the_plain_file_is_productions(tmp_path: Path, said: str) -> None:
    write(tmp_path, plain=f"{said}\nLAMP_LIVE=1\n")

    with pytest.raises(ConfigError, match=r"no \.env\.tesing.*production.*mistyped"):
        load_environment(tmp_path, "tesing")

    assert "LAMP_LIVE" not in os.environ


@pytest.mark.parametrize("real", ["production", None])
def test_it_is_an_error_where_there_are_no_files_either(tmp_path: Path, real: str | None) -> None:
    if real:
        os.environ["APP_ENV"] = real

    with pytest.raises(ConfigError, match=r"no \.env\.tesing"):
        load_environment(tmp_path, "tesing")


def test_the_variable_can_be_mistyped_as_well(tmp_path: Path) -> None:
    write(tmp_path, plain="APP_ENV=production\n")
    os.environ["APP_ENV"] = "tesing"

    with pytest.raises(ConfigError, match=r"no \.env\.tesing, and \.env says production"):
        load_environment(tmp_path)


@pytest.mark.parametrize(
    ("asked", "real", "plain", "name"),
    [
        ("staging", "testing", None, "staging"),
        ("staging", None, "APP_ENV=local", "staging"),
        ("production", None, "APP_ENV=local", "production"),
        ("production", None, "APP_ENV=production", "production"),
        (None, "testing", None, "testing"),
        (None, "testing", "APP_ENV=local", "testing"),
        (None, "production", "APP_ENV=local", "production"),
    ],
)
def test_a_name_needs_no_file_where_nothing_says_production(
    tmp_path: Path, asked: str | None, real: str | None, plain: str | None, name: str
) -> None:
    if plain is not None:
        write(tmp_path, plain=plain)
    if real:
        os.environ["APP_ENV"] = real

    assert load_environment(tmp_path, asked).name == name


@pytest.mark.parametrize("real", [None, "production"])
def test_whoever_reads_productions_values_is_in_production(tmp_path: Path, real: str | None) -> None:
    write(tmp_path, _live="APP_ENV=production\nLAMP_DB=live\n")
    if real:
        os.environ["APP_ENV"] = real

    found = load_environment(tmp_path, "live")

    assert (found.name, found.file) == ("production", ".env.live")
