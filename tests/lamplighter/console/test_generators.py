"""Files that make:* writes."""

import io
from pathlib import Path

import pytest

from lamplighter.console.generators import Generator
from lamplighter.console.output import Output
from lamplighter.errors import ConsoleError

STUB = '''"""{{ class }}."""

from lamplighter.queue.jobs.job import Job

class {{ class }}:
    name = "{{ name }}"
    module = "{{ module }}"
    package = "{{ package }}"
'''


@pytest.mark.parametrize(
    ("name", "path", "class_name", "dotted"),
    [
        ("SendMail", "app/Jobs/send_mail.py", "SendMail", "send_mail"),
        ("send_mail", "app/Jobs/send_mail.py", "SendMail", "send_mail"),
        ("Admin/SendMail", "app/Jobs/Admin/send_mail.py", "SendMail", "admin.send_mail"),
        ("Admin\\SendMail", "app/Jobs/Admin/send_mail.py", "SendMail", "admin.send_mail"),
    ],
)
def test_a_class_goes_into_the_module_of_its_name(
    tmp_path: Path, name: str, path: str, class_name: str, dotted: str
) -> None:
    written = Generator(tmp_path).create("Job", name, "app/Jobs", STUB)

    assert written == tmp_path / path
    text = written.read_text()
    assert f"class {class_name}:" in text
    assert f'name = "{dotted}"' in text
    assert f'module = "{path.removesuffix(".py").replace("/", ".")}"' in text


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    generator = Generator(tmp_path)
    written = generator.create("Job", "SendMail", "app/Jobs", STUB)
    written.write_text("mine")

    with pytest.raises(ConsoleError, match=r"\[app/Jobs/send_mail.py\] already exists. Add --force"):
        generator.create("Job", "SendMail", "app/Jobs", STUB)

    assert written.read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_a_file_that_can_not_be_written_is_named(tmp_path: Path, force: bool) -> None:
    (tmp_path / "app").write_text("no folder")

    with pytest.raises(ConsoleError, match=r"\[app/Jobs/send_mail.py\] can't be written: Not a directory"):
        Generator(tmp_path).create("Job", "SendMail", "app/Jobs", STUB, force=force)


def test_force_overwrites(tmp_path: Path) -> None:
    generator = Generator(tmp_path)
    written = generator.create("Job", "SendMail", "app/Jobs", "old")

    generator.create("Job", "SendMail", "app/Jobs", "new", force=True)

    assert written.read_text() == "new"


@pytest.mark.parametrize(
    "name",
    [
        "class",
        "__init__",
        "__init__/Send",
        "Import",
        "None",
        "2Fast",
        "Send Mail!",
        "Käse",
        "",
        "/",
        "Job",
        "class/Send",
    ],
)
def test_a_name_that_python_or_the_stub_needs_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConsoleError):
        Generator(tmp_path).create("Job", name, "app/Jobs", STUB)

    assert not list(tmp_path.rglob("*.py"))


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    written = Generator(tmp_path).create("Job", "../../Escape", "app/Jobs", STUB)

    assert written == tmp_path / "app" / "Jobs" / "escape.py"


def test_the_class_that_was_made_can_be_named(tmp_path: Path) -> None:
    generator = Generator(tmp_path)
    written = generator.create("Job", "Admin/HTTPCheck", "app/Jobs", STUB)

    target = generator.target("Admin/HTTPCheck", written)

    assert target == "app.Jobs.Admin.http_check:HTTPCheck"


def test_success_is_announced_as_laravel_does(tmp_path: Path) -> None:
    out = io.StringIO()
    generator = Generator(tmp_path)
    written = generator.create("Job", "SendMail", "app/Jobs", STUB)

    generator.announce(Output(out), "Job", written)

    assert "   INFO  Job [app/Jobs/send_mail.py] created successfully.  " in out.getvalue()
