"""From a command line to an exit code."""

from collections.abc import Sequence

from lamplighter import __version__
from lamplighter.console.listing import BUILT_IN, commands_by_name, show_overview
from lamplighter.console.options import GlobalOptions, split_global_options
from lamplighter.console.output import Output
from lamplighter.contracts import Container, ExceptionHandler
from lamplighter.errors import ConsoleError
from lamplighter.support.provider import CommandTable

INTERRUPTED = 130  # 128 + SIGINT, as shells count


class Kernel:
    """Runs the commands of an application's command table."""

    def __init__(self, app: Container, table: CommandTable) -> None:
        self._app = app
        self._table = table

    def run(self, argv: Sequence[str], options: GlobalOptions) -> int:
        """Run a command line without its global options on this process's terminal, and give its exit code.

        Errors end here: a ConsoleError as a line on stderr, any other at the exception handler.
        """
        output = Output.for_terminal(options)
        try:
            return self._run(list(argv), options, output)
        except ConsoleError as error:
            output.error(str(error))
            return error.exit_code
        except KeyboardInterrupt:
            return INTERRUPTED
        except Exception as error:
            # The top of the main thread: nobody above it could tell.
            handler = self._app.make(ExceptionHandler)
            handler.report(error)
            return handler.render(error, verbosity=options.verbosity)

    def call(self, name: str, *arguments: str, output: Output) -> int:
        """Run a command from code. Its errors are raised; how much it prints is the output's matter.

        Raises:
            ConsoleError: `--env` is among the arguments: the environment is the application's by now.
        """
        options, argv = split_global_options([name, *arguments])
        if options.env is not None:
            raise ConsoleError(f"{name} can't be called with --env: the application has its environment by now.")
        return self._run(argv, options, output)

    def _run(self, argv: list[str], options: GlobalOptions, output: Output) -> int:
        if options.version:
            output.line(f"Lamplighter {output.paint('green', __version__)}")
            return 0
        if options.help:
            argv = ["help", *argv[:1]]
        commands = commands_by_name(self._table)
        argv = argv or ["list"]
        if argv[0] == "list" and commands["list"] in BUILT_IN and len(argv) <= 2 and not argv[-1].startswith("-"):
            # There is nothing to parse, and importing Typer takes longer than the rest of the list.
            show_overview(output, commands, *argv[1:])
            return 0

        from lamplighter.console.group import CommandGroup, run

        call = CommandGroup(commands).parse(argv)
        command = self._app.make(call.command)
        command.output = output
        return run(command, call.arguments)
