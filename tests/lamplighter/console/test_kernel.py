"""Command lines, from their words to their exit codes."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Literal

import pytest
import typer

from lamplighter.console.command import Command
from lamplighter.console.kernel import Kernel
from lamplighter.console.options import split_global_options
from lamplighter.console.output import Output
from lamplighter.container import Container
from lamplighter.contracts import ExceptionHandler
from lamplighter.errors import ConfigError, ConsoleError
from lamplighter.support.provider import CommandEntry, CommandTable

Run = Callable[..., int]


class Greeter:
    """A service that a command asks for."""

    greeting = "Hello"


class Work(Command):
    """A command with every kind of parameter."""

    name = "queue:work"

    def handle(
        self,
        connection: Annotated[str | None, typer.Argument(help="The connection")] = None,
        queue: str | None = None,
        attempts: Annotated[int, typer.Option("--tries", "-t", help="How often")] = 1,
        sleep: float = 3,
        memory: int | None = None,
        backoff: str = "0",
        once: bool = False,
        force: Annotated[bool, typer.Option(help="Force it")] = False,
        stop_when_empty: bool = False,
        mode: Literal["slow", "fast"] = "slow",
        daemon: Annotated[bool, typer.Option(hidden=True)] = False,
    ) -> None:
        values = {name: value for name, value in locals().items() if name != "self"}
        self.output.line(repr(values))


class Rates(Command):
    """A command with numbers."""

    name = "rates"

    def handle(self, rate: Annotated[list[float] | None, typer.Option()] = None) -> None:
        self.output.line(repr(rate))


class Returns(Command):
    """A command that returns anything."""

    name = "returns"

    def handle(self, what: str) -> int | None:
        return {"256": 256, "-1": -1, "text": "text", "true": True, "255": 255}[what]  # type: ignore[return-value]


class Later(Command):
    """A command that nobody awaits."""

    name = "later"

    async def handle(self) -> None:  # type: ignore[override]
        """Come to nothing."""


class Retry(Command):
    """A command with lists."""

    name = "queue:retry"

    def handle(self, ids: Annotated[list[str], typer.Argument(metavar="ID")], ranges: list[str] | None = None) -> None:
        self.output.line(f"{ids} {ranges}")


class Tone(Enum):
    """A choice."""

    WARM = "warm"
    COLD = "cold"


class Greet(Command):
    """A command with a service and a choice."""

    name = "greet"

    def __init__(self, greeter: Greeter) -> None:
        self._greeter = greeter

    def handle(self, tone: Tone = Tone.WARM) -> None:
        self.output.line(self._greeter.greeting)


ENDS: dict[str, Exception] = {
    "typer": typer.Exit(3),
    "abort": typer.Abort(),
    "parameter": typer.BadParameter("The day is no day."),
}


class Exit(Command):
    """A command that ends as it is told."""

    name = "exit"

    def handle(self, how: str) -> int | None:
        if how == "console":
            raise ConsoleError("Out of order.", exit_code=12)
        if how == "crash":
            raise RuntimeError("boom")
        if how == "interrupt":
            raise KeyboardInterrupt
        if how in ENDS:
            raise ENDS[how]
        return {"none": None, "zero": 0, "three": 3, "true": True, "false": False}[how]


class Shadowing(Command):
    """A command whose option is one of all commands."""

    name = "shadowing"

    def handle(self, amount: int = 0, number: Annotated[int, typer.Option("-n", "--number")] = 1) -> None:
        self.output.line(f"{amount} {number}")


class Placing(Command):
    """Another, by the name of its parameter alone."""

    name = "placing"

    def handle(self, env: str = "none") -> None:
        self.output.line(env)


class Deaf(Command):
    """Another, whose short options look like two of all commands."""

    name = "deaf"

    def handle(self, loud: Annotated[bool, typer.Option("-nv")] = False) -> None:
        self.output.line(str(loud))


class Wanting(Command):
    """A command whose service can't be built."""

    name = "wanting"

    def __init__(self, missing: Sequence[int]) -> None:
        self.missing = missing

    def handle(self) -> None:
        self.output.line("never")


@dataclass
class Handler:
    """An exception handler that remembers."""

    reported: list[BaseException] = field(default_factory=list)
    rendered: list[tuple[BaseException, int]] = field(default_factory=list)

    def report(self, error: BaseException) -> None:
        self.reported.append(error)

    def render(self, error: BaseException, *, verbosity: int) -> int:
        self.rendered.append((error, verbosity))
        return 1


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def table() -> CommandTable:
    return CommandTable()


@pytest.fixture
def kernel(handler: Handler, table: CommandTable) -> Kernel:
    container = Container()
    for command in (Work, Retry, Greet, Exit, Wanting):
        table.add(CommandEntry(command.name, command.__doc__ or "", f"{__name__}:{command.__name__}"))
    table.add(CommandEntry("broken", "Names a class that is not there", f"{__name__}:Nothing"))
    table.add(CommandEntry("cache:clear", "Is never imported", "no.such.module:Clear"))
    container.instance(CommandTable, table)
    container.instance(ExceptionHandler, handler)
    return Kernel(container, table)


@pytest.fixture
def run(kernel: Kernel) -> Run:
    def run(*argv: str) -> int:
        options, rest = split_global_options(argv)
        return kernel.run(rest, options)

    return run


def test_the_parameters_of_handle_have_their_defaults(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("queue:work") == 0

    assert eval(capsys.readouterr().out) == {
        "connection": None,
        "queue": None,
        "attempts": 1,
        "sleep": 3.0,
        "memory": None,
        "backoff": "0",
        "once": False,
        "force": False,
        "stop_when_empty": False,
        "mode": "slow",
        "daemon": False,
    }


def test_the_parameters_of_handle_are_the_arguments_and_options(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--queue=high,default kafka -t 5 --sleep 0.5 --memory=64 --backoff=1,5 --once --force --stop-when-empty"

    assert run("-n", "queue:work", *words.split(), "--mode=fast", "-v") == 0

    assert eval(capsys.readouterr().out) == {
        "connection": "kafka",
        "queue": "high,default",
        "attempts": 5,
        "sleep": 0.5,
        "memory": 64,
        "backoff": "1,5",
        "once": True,
        "force": True,
        "stop_when_empty": True,
        "mode": "fast",
        "daemon": False,
    }


def test_lists_are_arguments_and_options_as_well(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("queue:retry", "1", "2", "--ranges=3-4", "--ranges", "5-6") == 0

    assert capsys.readouterr().out == "['1', '2'] ['3-4', '5-6']\n"


@pytest.mark.parametrize(
    ("command", "option"),
    [(Shadowing, "-n"), (Placing, "--env"), (Deaf, "-nv")],
)
@pytest.mark.parametrize("before", [(), ("help",)])
def test_an_option_that_all_commands_have_is_refused_where_a_command_declares_it(
    table: CommandTable, run: Run, handler: Handler, command: type[Command], option: str, before: tuple[str, ...]
) -> None:
    table.add(CommandEntry(command.name, "Can't be defined", f"{__name__}:{command.__name__}"))

    assert run(*before, command.name) == 1

    [(error, _)] = handler.rendered
    assert isinstance(error, ConfigError)
    assert f"The command {command.name} " in str(error)
    assert f"declares the option {option}," in str(error)


def test_no_number_is_no_value(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("queue:work", "--sleep=nan") == 1

    assert "'sleep' is no number" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("queue:work", "--queue=caf\udce9"), ("queue:retry", "a", "caf\udce9")])
def test_bytes_that_are_no_text_are_no_value(run: Run, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run(*words) == 1

    assert "is no UTF-8" in capsys.readouterr().err


def test_no_number_is_no_value_in_a_list(table: CommandTable, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    table.add(CommandEntry("rates", "Print rates", f"{__name__}:Rates"))

    assert run("rates", "--rate=1", "--rate=nan") == 1

    assert "'rate' is no number" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["256", "-1", "text"])
def test_what_is_no_exit_code_is_an_error_that_names_the_command(
    table: CommandTable, run: Run, handler: Handler, what: str
) -> None:
    table.add(CommandEntry("returns", "Returns", f"{__name__}:Returns"))

    assert run("returns", "--", what) == 1

    [(error, _)] = handler.rendered
    assert "The command returns has returned" in str(error)


@pytest.mark.filterwarnings("error")
def test_a_command_that_is_async_is_an_error(table: CommandTable, run: Run, handler: Handler) -> None:
    table.add(CommandEntry("later", "Comes to nothing", f"{__name__}:Later"))

    assert run("later") == 1

    [(error, _)] = handler.rendered
    assert "The command later has returned <coroutine" in str(error)


@pytest.mark.parametrize(("what", "code"), [("255", 255), ("true", 1)])
def test_what_is_an_exit_code_ends_the_program(table: CommandTable, run: Run, what: str, code: int) -> None:
    table.add(CommandEntry("returns", "Returns", f"{__name__}:Returns"))

    assert run("returns", what) == code


@pytest.mark.parametrize("target", ["no.such.module:Thing", ":Thing"])
def test_a_command_whose_module_breaks_is_named(table: CommandTable, run: Run, handler: Handler, target: str) -> None:
    table.add(CommandEntry("gone", "Is gone", target))

    assert run("gone") == 1

    [(error, _)] = handler.rendered
    assert isinstance(error, ConfigError)
    assert f"The command gone ({target}) can't be imported" in str(error)


def test_what_stands_behind_two_dashes_is_an_argument(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("queue:retry", "--", "-v", "--env=x") == 0

    assert capsys.readouterr().out == "['-v', '--env=x'] None\n"


def test_services_come_through_the_constructor(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("greet") == 0

    assert capsys.readouterr().out == "Hello\n"


@pytest.mark.parametrize(
    ("how", "code"),
    [("none", 0), ("zero", 0), ("three", 3), ("true", 1), ("false", 0), ("console", 12), ("interrupt", 130)],
)
def test_exit_codes_are_laravels(run: Run, how: str, code: int) -> None:
    assert run("exit", how) == code


def test_a_console_error_is_all_that_the_user_sees(
    run: Run, handler: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    run("exit", "console")

    assert capsys.readouterr() == ("", "\n   ERROR  Out of order.  \n\n")
    assert handler.reported == []


@pytest.mark.parametrize(
    ("how", "code", "told"), [("typer", 3, ""), ("abort", 1, "Aborted."), ("parameter", 1, "The day is no day.")]
)
def test_typers_own_ways_to_end_a_command_are_known(
    run: Run, handler: Handler, capsys: pytest.CaptureFixture[str], how: str, code: int, told: str
) -> None:
    assert run("exit", how) == code

    assert told in capsys.readouterr().err
    assert handler.reported == []


def test_another_error_ends_at_the_exception_handler(run: Run, handler: Handler) -> None:
    assert run("exit", "crash", "-vv") == 1

    [error] = handler.reported
    assert isinstance(error, RuntimeError)
    assert handler.rendered == [(error, 2)]


@pytest.mark.parametrize("name", ["wanting", "broken", "cache:clear"])
def test_a_command_that_cannot_be_made_ends_at_the_exception_handler(run: Run, handler: Handler, name: str) -> None:
    assert run(name) == 1

    assert len(handler.reported) == 1


@pytest.mark.parametrize(
    ("argv", "message", "usage"),
    [
        (["queue:work", "--querue=x"], "--querue. Did you mean --queue?", "queue:work [options] [<connection>]"),
        (["queue:work", "--no-once"], "No such option: --no-once", "queue:work [options] [<connection>]"),
        (["queue:work", "--once=1"], "--once", "queue:work [options] [<connection>]"),
        (["queue:work", "a", "b"], "unexpected extra argument", "queue:work [options] [<connection>]"),
        (["queue:work", "--tries=x"], "--tries", "queue:work [options] [<connection>]"),
        (["queue:work", "--mode=x"], "'slow', 'fast'", "queue:work [options] [<connection>]"),
        (["queue:work", "--queue"], "--queue", "queue:work [options] [<connection>]"),
        (["queue:retry"], "Missing argument", "queue:retry [options] <id>..."),
        (["--nope", "queue:work"], "No such option: --nope", "<command> [options] [arguments]"),
    ],
)
def test_a_wrong_command_line_is_explained_and_exits_1(
    run: Run, handler: Handler, capsys: pytest.CaptureFixture[str], argv: list[str], message: str, usage: str
) -> None:
    assert run(*argv) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert f"  Usage: {usage}\n" in err
    assert handler.reported == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["queue:wrk"], 'Command "queue:wrk" is not defined. Did you mean queue:work'),
        (["help", "queue:wrk"], "Did you mean queue:work"),
        (["queue:wrk", "--help"], "Did you mean queue:work"),
        (["queue"], "There are queue:retry, queue:work."),
        (["xyz"], 'Command "xyz" is not defined.'),
        (["list", "xyz"], "The prefixes are cache, queue."),
    ],
)
def test_a_typo_exits_1_and_names_what_is_near(
    run: Run, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert run(*argv) == 1

    assert message in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["list"], ["help"], ["--help"], ["-n"]])
def test_a_bare_call_lists_the_commands_by_prefix(
    run: Run, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    assert run(*argv) == 0

    out = capsys.readouterr().out
    assert out.startswith("Lamplighter ")
    listed = out.split("Available commands:\n")[1].splitlines()
    assert [line.rstrip().split("  ")[1].strip() if line.startswith("  ") else line for line in listed] == [
        "broken",
        "exit",
        "greet",
        "help",
        "list",
        "wanting",
        " cache",
        "cache:clear",
        " queue",
        "queue:retry",
        "queue:work",
    ]


def test_the_list_of_one_prefix_has_no_others(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "queue") == 0

    out = capsys.readouterr().out
    assert "queue:work" in out
    assert "cache:clear" not in out


@pytest.mark.parametrize("argv", [["help", "queue:work"], ["queue:work", "--help"], ["-h", "queue:work", "--once"]])
def test_help_shows_what_a_command_takes(run: Run, capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert run(*argv) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "  queue:work [options] [<connection>]" in lines
    assert "  connection             The connection" in lines
    assert "  -t, --tries=TRIES      How often [default: 1]" in lines
    assert "      --force            Force it" in lines
    assert any(line.startswith("      --env=ENV") for line in lines)
    assert not any("--no-force" in line for line in lines)
    assert not any("--daemon" in line for line in lines)


def test_help_shows_a_choice_as_it_is_written(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("help", "greet")

    assert "      --tone=TONE       [default: warm]" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("word", "proposed"),
    [
        ("queue:pause", False),
        ("queue:listen", False),
        ("queue:push", False),
        ("queue:flushed-all", False),
        ("queue:flsh", True),
        ("queue:fulsh", True),
        ("qeue:flush", True),
    ],
)
def test_a_destructive_command_is_proposed_for_no_other_word(
    table: CommandTable, run: Run, capsys: pytest.CaptureFixture[str], word: str, proposed: bool
) -> None:
    table.add(CommandEntry("queue:flush", "Delete all", "no.such.module:Flush", is_destructive=True))

    assert run(word) == 1

    proposal = capsys.readouterr().err.partition("Did you mean ")[2]
    assert ("queue:flush" in proposal) == proposed


def test_the_version_is_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("queue:work", "-V") == 0

    assert capsys.readouterr().out.startswith("Lamplighter 0.")


def test_quiet_silences_the_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("queue:work", "-q") == 0

    assert capsys.readouterr() == ("", "")


def test_a_command_can_be_called_from_code(kernel: Kernel) -> None:
    out = io.StringIO()

    code = kernel.call("queue:retry", "7", output=Output(out))

    assert code == 0
    assert out.getvalue() == "['7'] None\n"


def test_an_error_of_a_command_that_was_called_from_code_is_raised(kernel: Kernel) -> None:
    with pytest.raises(ConsoleError, match="Out of order"):
        kernel.call("exit", "console", output=Output(io.StringIO()))


@pytest.mark.parametrize("argv", [[], ["list"]])
def test_an_applications_own_list_takes_the_place_of_ours(
    table: CommandTable, kernel: Kernel, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    table.add(CommandEntry("list", "Ours no more", f"{__name__}:Greet"))

    kernel.run(argv, split_global_options([])[0])

    assert capsys.readouterr().out == "Hello\n"


@pytest.mark.parametrize("argv", [["list"], ["list", "x"]])
def test_listing_imports_neither_typer_nor_any_command(argv: list[str]) -> None:
    program = (
        "import sys\n"
        "from lamplighter.console.kernel import Kernel\n"
        "from lamplighter.console.options import GlobalOptions\n"
        "from lamplighter.container import Container\n"
        "from lamplighter.support.provider import CommandEntry, CommandTable\n"
        "table = CommandTable()\n"
        "table.add(CommandEntry('x:y', 'Is never imported', 'no.such.module:Y'))\n"
        f"code = Kernel(Container(), table).run({argv}, GlobalOptions())\n"
        "heavy = {'typer', 'rich', 'pydantic', 'sqlalchemy', 'alembic', 'confluent_kafka'} & set(sys.modules)\n"
        "sys.exit(code or ' '.join(heavy) or 0)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=_environment()
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "x:y" in done.stdout


def test_running_a_command_does_not_load_rich() -> None:
    program = (
        "import sys\n"
        "from lamplighter.console.kernel import Kernel\n"
        "from lamplighter.console.options import GlobalOptions\n"
        "from lamplighter.container import Container\n"
        "from lamplighter.support.provider import CommandTable\n"
        "table = CommandTable()\n"
        "container = Container()\n"
        "container.instance(CommandTable, table)\n"
        "code = Kernel(container, table).run(['list', 'nope'], GlobalOptions())\n"
        "sys.exit(0 if code == 1 and 'rich' not in sys.modules else 1)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=_environment()
    )

    assert done.returncode == 0, done.stderr


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "error"}


def test_a_command_called_from_code_can_not_change_the_environment(kernel: Kernel) -> None:
    with pytest.raises(ConsoleError, match="called with --env"):
        kernel.call("queue:retry", "7", "--env=testing", output=Output(io.StringIO()))
