"""What stands on the screen, byte for byte."""

import io
import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from lamplighter.console.command import confirm_in_production
from lamplighter.console.options import GlobalOptions
from lamplighter.console.output import Output

GOLDEN_PLAIN = "\n   INFO  Processing jobs from the [default] queue.  \n\n"
GOLDEN_ANSI = "\n  \x1b[37;44m INFO \x1b[39;49m Processing jobs from the \x1b[1m[default]\x1b[22m queue.  \n\n"


def screen(**settings: object) -> tuple[Output, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Output(out, err, **settings), out, err  # type: ignore[arg-type]


@pytest.mark.parametrize(("ansi", "expected"), [(False, GOLDEN_PLAIN), (True, GOLDEN_ANSI)])
def test_an_info_block_looks_as_laravels(ansi: bool, expected: str) -> None:
    output, out, _ = screen(ansi=ansi)

    output.info("Processing jobs from the [default] queue")

    assert out.getvalue() == expected


@pytest.mark.parametrize("text", ["Sure?", "Look:", "Stop!", "Done.", "First;"])
def test_a_sentence_that_has_its_end_gets_no_full_stop(text: str) -> None:
    output, out, _ = screen()

    output.info(text)

    assert f"  {text}  \n" in out.getvalue()


def test_blocks_keep_one_empty_line_between_them() -> None:
    output, out, _ = screen()

    output.info("One")
    output.warn("Two")
    output.line("three")
    output.info("Four")

    assert out.getvalue() == "\n   INFO  One.  \n\n   WARN  Two.  \n\nthree\n\n   INFO  Four.  \n\n"


STEERING = "a\x1b[2J\x07b\x9b31mc\u202ed\re"
SHOWN = r"a\u001b[2J\u0007b\u009b31mc\u202ed\u000de"


@pytest.mark.parametrize("ansi", [False, True])
def test_what_a_terminal_would_obey_is_shown_instead(ansi: bool) -> None:
    output, out, err = screen(ansi=ansi)

    output.line(STEERING)
    output.info(STEERING)
    output.two_column(STEERING, f"{STEERING}\n2026-01-01 another line")
    output.table([STEERING], [[f"{STEERING}\n| x |"]])
    output.error(STEERING)

    written = out.getvalue() + err.getvalue()
    assert written.count(SHOWN) == 7
    assert "\x1b[2J" not in written
    assert not any(letter in written for letter in "\x07\x9b\u202e\r")
    assert r"\n2026-01-01 another line" in written
    assert r"\n| x |" in written


def test_styles_of_ours_pass() -> None:
    output, out, _ = screen(ansi=True)

    output.line(output.paint("green", "fine"))

    assert out.getvalue() == "\x1b[32mfine\x1b[39m\n"


def test_json_stays_what_it_is() -> None:
    output, out, _ = screen()

    output.line(json.dumps({"name": STEERING}, ensure_ascii=False))

    assert json.loads(out.getvalue()) == {"name": STEERING}


def test_only_errors_go_to_stderr() -> None:
    output, out, err = screen()

    output.warn("careful")
    output.error("broken\nUsage: mend")

    assert "careful" in out.getvalue()
    assert err.getvalue() == "   ERROR  broken.  \n\n  Usage: mend\n\n"


def test_quiet_leaves_nothing_but_errors() -> None:
    output, out, err = screen(verbosity=-1)

    output.info("info")
    output.line("line")
    output.write("raw")
    output.two_column("a", "b")
    output.table(["a"], [["b"]])
    output.error("broken")

    assert output.is_quiet
    assert out.getvalue() == ""
    assert "broken" in err.getvalue()


def test_a_line_waits_for_its_verbosity() -> None:
    output, out, _ = screen(verbosity=1)

    output.line("detail", verbosity=1)
    output.line("more detail", verbosity=2)

    assert out.getvalue() == "detail\n"


@pytest.mark.parametrize("width", [80, 120])
def test_two_columns_end_two_short_of_the_width_as_laravels(width: int) -> None:
    output, out, _ = screen(width=width)

    output.two_column("Environment", "local")

    line = out.getvalue().rstrip("\n")
    assert line.startswith("  Environment ....")
    assert line.endswith(".... local")
    assert len(line) == width - 2


def test_two_columns_without_room_keep_their_words() -> None:
    output, out, _ = screen(width=20)

    output.two_column("a" * 20, "b" * 20)

    assert out.getvalue() == f"  {'a' * 20} {'b' * 20}\n"


def test_the_width_is_at_most_150() -> None:
    output, _, _ = screen(width=400)

    assert output.width == 150


def test_a_table_is_as_wide_as_its_widest_cells() -> None:
    output, out, _ = screen()

    output.table(["ID", "Name"], [[1, "Ada"], [20, "Grace Hopper"]])

    assert out.getvalue() == (
        "+----+--------------+\n"
        "| ID | Name         |\n"
        "+----+--------------+\n"
        "| 1  | Ada          |\n"
        "| 20 | Grace Hopper |\n"
        "+----+--------------+\n"
    )


def test_a_table_without_rows_is_its_head() -> None:
    output, out, _ = screen()

    output.table(["ID"], [])

    assert out.getvalue() == "+----+\n| ID |\n+----+\n"


@pytest.mark.parametrize(
    ("answer", "default", "expected"),
    [("yes\n", False, True), ("y\n", False, True), ("no\n", True, False), ("\n", True, True), ("", False, False)],
)
def test_a_question_is_answered_on_the_screen(answer: str, default: bool, expected: bool) -> None:
    output, out, _ = screen(stdin=io.StringIO(answer), interactive=True)

    assert output.confirm("Go on?", default) is expected
    assert "Go on? (yes/no)" in out.getvalue()


def test_where_nobody_can_answer_the_default_counts_and_nothing_is_asked() -> None:
    output, out, _ = screen(stdin=io.StringIO("no\n"), interactive=False)

    assert output.confirm("Go on?", True) is True
    assert output.ask("Name?", "Ada") == "Ada"
    assert out.getvalue() == ""


def test_an_empty_answer_is_the_default() -> None:
    output, _, _ = screen(stdin=io.StringIO("\nGrace\n"), interactive=True)

    assert output.ask("Name?", "Ada") == "Ada"
    assert output.ask("Name?", "Ada") == "Grace"


@pytest.mark.parametrize(
    ("environment", "force", "answer", "goes_on"),
    [
        ("local", False, "", True),
        ("production", True, "", True),
        ("production", False, "yes\n", True),
        ("production", False, "\n", False),
        ("PRODUCTION", False, "\n", False),
        (" Production ", False, "\n", False),
        ("prod", False, "\n", False),
    ],
)
def test_production_is_asked_about(environment: str, force: bool, answer: str, goes_on: bool) -> None:
    output, out, _ = screen(stdin=io.StringIO(answer), interactive=True)

    assert confirm_in_production(output, environment, force=force) is goes_on
    assert ("Command cancelled." in out.getvalue()) is not goes_on


def test_production_without_a_person_is_refused_and_names_the_way_out() -> None:
    output, out, err = screen(interactive=False)

    assert confirm_in_production(output, "production", force=False) is False
    assert "--force" in err.getvalue()
    assert "Command cancelled." in out.getvalue()


def test_letters_that_the_terminal_lacks_do_not_end_the_command() -> None:
    written = io.BytesIO()
    output = Output(io.TextIOWrapper(written, encoding="ascii"))

    output.line("käse \ud800 done")

    assert written.getvalue() == b"k\\xe4se \\ud800 done\n"


def test_progress_passes_the_items_on_and_says_how_many_there_were() -> None:
    output, out, _ = screen()

    passed = list(output.progress(["a", "b", "c"], label="Rows"))

    assert passed == ["a", "b", "c"]
    assert out.getvalue() == "  Rows 3/3 (100%)\n"


def test_progress_without_a_total_counts() -> None:
    output, out, _ = screen()

    list(output.progress(iter("ab")))

    assert out.getvalue() == "  2\n"


def test_progress_draws_a_bar_on_a_terminal() -> None:
    output, out, _ = screen()
    out.isatty = lambda: True  # type: ignore[method-assign]

    list(output.progress(["a", "b"], label="Rows"))

    assert out.getvalue().rstrip() == f"\r  Rows 2/2 [{'=' * 28}] 100%"


@pytest.mark.parametrize(
    ("variables", "option", "coloured"),
    [
        ({}, None, False),
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, True),
    ],
)
def test_without_a_terminal_only_the_option_colours(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], option: bool | None, coloured: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert Output.for_terminal(GlobalOptions(ansi=option)).ansi is coloured


@pytest.mark.parametrize(
    ("terminal", "no_color", "option", "coloured"),
    [
        ("xterm", "", None, True),
        ("dumb", "", None, False),
        ("xterm", "1", None, False),
        ("xterm", "", False, False),
    ],
)
def test_a_terminal_is_coloured_unless_someone_objects(
    monkeypatch: pytest.MonkeyPatch, terminal: str, no_color: str, option: bool | None, coloured: bool
) -> None:
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys, "stdout", tty := io.StringIO())
    tty.isatty = lambda: True  # type: ignore[method-assign]

    assert Output.for_terminal(GlobalOptions(ansi=option)).ansi is coloured


def test_without_a_terminal_the_width_is_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    assert Output.for_terminal(GlobalOptions()).width == 80


def test_a_real_terminal_has_colours_its_own_width_and_a_person_to_ask() -> None:
    program = (
        "from lamplighter.console.options import GlobalOptions\n"
        "from lamplighter.console.output import Output\n"
        "output = Output.for_terminal(GlobalOptions())\n"
        "output.info('Processing jobs from the [default] queue')\n"
        "output.line(f'{output.width} {output.confirm(\"Go on?\")}')\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm"},
    )
    os.write(ours, b"yes\n")

    code = process.wait(timeout=30)

    shown = os.read(ours, 10_000).decode().replace("\r\n", "\n")
    os.close(ours)
    os.close(theirs)
    assert code == 0
    assert GOLDEN_ANSI in shown
    assert shown.endswith("120 True\n")


def test_a_reader_that_has_gone_away_ends_nothing(tmp_path: Path) -> None:
    done = tmp_path / "done"
    program = (
        "import sys, pathlib\n"
        "from lamplighter.console.output import Output\n"
        "output = Output(sys.stdout)\n"
        "for _ in range(10_000): output.line('x' * 100)\n"
        f"pathlib.Path({str(done)!r}).touch()\n"
    )
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    os.close(reading)

    _, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (0, b"")
    assert done.exists()


def test_a_command_without_a_standard_output_ends_as_any_other() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} artisan.py list >&-"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_the_golden_info_line_is_the_one_that_laravel_printed() -> None:
    golden = Path(__file__).parents[2] / "golden" / "queue_work_output.json"
    if not golden.exists():
        pytest.skip("tests/golden has no queue_work_output.json")
    cases = json.loads(golden.read_text())["cases"]
    printed = [case["stdout"].replace("\r\n", "\n") for case in cases if case["tty"]]

    assert any(text.startswith(GOLDEN_PLAIN) for text in printed)
    assert any(text.startswith(GOLDEN_ANSI) for text in printed)
