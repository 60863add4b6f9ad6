"""`queue:listen`: works a queue while its jobs are being written; the worker starts anew when code changes."""

import inspect
from enum import Enum
from typing import Any, get_args

import typer.models

from lamplighter.console.command import Command, confirm_in_production
from lamplighter.contracts import Application
from lamplighter.queue.commands.work import WorkCommand
from lamplighter.queue.guard.reloading import Reloading
from lamplighter.support.environment import is_production

# They end a worker, and this one is to be started anew whenever it has ended.
NOT_PASSED_ON = ("once", "daemon", "stop_when_empty", "stop_when_empty_for")
PARAMETERS = {
    name: parameter
    for name, parameter in inspect.signature(WorkCommand.handle, eval_str=True).parameters.items()
    if name not in NOT_PASSED_ON
}


class ListenCommand(Command):
    """Listen to a given queue, for development."""

    name = "queue:listen"
    description = "Listen to a given queue, for development: the worker starts anew when code changes"

    def __init__(self, app: Application) -> None:
        self._app = app

    def handle(self, **options: Any) -> int:
        """Run a worker until a signal comes; the options are those of queue:work."""
        if is_production(self._app.environment):
            self.output.warn("queue:listen is for development. In production have a process monitor run queue:work.")
            if not confirm_in_production(self.output, self._app.environment, force=options["force"]):
                return 1
        self.output.info(
            "Listening. The worker starts anew when a module, the configuration or .env changes; Ctrl-C ends it."
        )
        words = ["queue:work", *words_of(options), *self._global_options()]
        return Reloading(self._app.base_path, words, self.output.info).run()

    # Typer reads the parameters from here.
    vars(handle)["__signature__"] = inspect.Signature(list(PARAMETERS.values()))

    def _global_options(self) -> list[str]:
        verbosity = self.output.verbosity
        volume = ["-q"] if verbosity < 0 else [f"-{'v' * verbosity}"] if verbosity else []
        return [*volume, "--ansi" if self.output.ansi else "--no-ansi"]


def words_of(options: dict[str, Any]) -> list[str]:
    """The command line that gives queue:work these options; what has its default is left out."""
    words: list[str] = []
    for name, value in options.items():
        parameter = PARAMETERS[name]
        if value == parameter.default:
            continue
        told = str(value.value if isinstance(value, Enum) else value)
        given = next(one for one in get_args(parameter.annotation) if isinstance(one, typer.models.ParameterInfo))
        if isinstance(given, typer.models.ArgumentInfo):
            words.append(told)
            continue
        # Typer keeps the first of the names that stand in an annotation as the default.
        names = [str(one) for one in (given.default, *(given.param_decls or ())) if str(one).startswith("--")]
        option = names[0] if names else "--" + name.replace("_", "-")
        words.append(option if value is True else f"{option}={told}")
    return words
