"""What makes a worker for development start anew, and what its command line is."""

from pathlib import Path
from typing import Any

import pytest

from lamplighter.console.group import CommandGroup
from lamplighter.errors import ConsoleError
from lamplighter.queue.commands.listen import words_of
from lamplighter.queue.guard.reloading import changed, look_at_files
from lamplighter.queue.provider import COMMANDS


def write(path: Path, text: str = "x = 1\n") -> Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["app/Jobs/store.py", "config/queue.py", ".env", ".env.local", "artisan.py"])
def test_what_the_application_is_made_of_is_watched(tmp_path: Path, name: str) -> None:
    before = look_at_files(tmp_path)
    path = write(tmp_path / name)
    there = look_at_files(tmp_path)
    write(path, "x = 22\n")
    now = look_at_files(tmp_path)
    path.unlink()

    assert changed(before, there) == changed(there, now) == changed(now, look_at_files(tmp_path)) == [path]


@pytest.mark.parametrize(
    "name",
    [
        "storage/logs/a.py",
        ".git/hooks/a.py",
        "app/__pycache__/a.py",
        "env/lib/a.py",
        "app/notes.txt",
        "app/.env",
    ],
)
def test_what_it_is_not_made_of_is_not(tmp_path: Path, name: str) -> None:
    write(tmp_path / "env/pyvenv.cfg")
    before = look_at_files(tmp_path)

    write(tmp_path / name)

    assert changed(before, look_at_files(tmp_path)) == []


def parsed(*words: str) -> dict[str, Any]:
    """What a command is given."""
    return dict(CommandGroup({entry.name: entry for entry in COMMANDS}).parse(words).arguments)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["kafka"],
        ["kafka", "--queue=high,low", "--tries=3", "--force", "--name=dev"],
        ["--pool=thread", "--concurrency=4", "--timeout=0.5", "--grace=2", "--json", "--backoff=1,5"],
    ],
)
def test_the_options_are_passed_on_to_queue_work(words: list[str]) -> None:
    passed_on = words_of(parsed("queue:listen", *words))

    assert parsed("queue:work", *passed_on) == parsed("queue:work", *words)


@pytest.mark.parametrize("option", ["--once", "--stop-when-empty", "--stop-when-empty-for=3"])
def test_what_would_end_the_worker_is_no_option(option: str) -> None:
    with pytest.raises(ConsoleError, match=option.partition("=")[0]):
        parsed("queue:listen", option)
