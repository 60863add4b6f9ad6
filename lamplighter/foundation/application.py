"""The application: a container that knows where it lies and which providers it has."""

import importlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lamplighter import __version__, contracts
from lamplighter.config import Repository, load_config
from lamplighter.console.kernel import Kernel
from lamplighter.console.options import GlobalOptions, split_global_options
from lamplighter.container import Container
from lamplighter.errors import ConfigError, ConsoleError
from lamplighter.events import Dispatcher
from lamplighter.foundation.exceptions import Handler
from lamplighter.foundation.maintenance import FileMaintenance
from lamplighter.logging.channels import configure
from lamplighter.queue.dispatching.deferring import deferring
from lamplighter.queue.guard.ending import leave
from lamplighter.support.early_signals import keep_pauses
from lamplighter.support.environment import Environment, canonical, load_environment
from lamplighter.support.provider import CommandTable, ServiceProvider
from lamplighter.support.unrun import name_of, refuse_unrun

log = logging.getLogger(__name__)

INTERRUPTED = 130


class Application(Container):
    """One application, from its folder to its exit code.

    Attributes:
        current: the application that was bootstrapped last in this process, for `foundation.shortcuts`.
        version: the framework's.
    """

    current: ClassVar["Application | None"] = None
    version = __version__

    def __init__(self, base_path: Path | str, *, providers: Sequence[str | type[ServiceProvider]] = ()) -> None:
        super().__init__()
        self._base_path = Path(base_path).resolve()
        self._declared = list(providers)
        self._booted: list[Callable[[], object]] = []
        self._environment = "production"
        self._requested: str | None = None
        self._events = Dispatcher()
        self._leave_within: float | None = None
        self.is_booted = False
        self._bind_self()

    @property
    def base_path(self) -> Path:
        """The project's folder."""
        return self._base_path

    @property
    def environment(self) -> str:
        """What `--env` names, else APP_ENV, else `production`; `production` wherever APP_ENV says so."""
        return self._environment

    def path(self, *parts: str) -> Path:
        """A path in the project; an absolute one stays as it is."""
        return self._base_path.joinpath(*parts)

    def booted(self, callback: Callable[[], object]) -> None:
        """Call this when all providers are booted; at once when they are.

        Raises:
            ConfigError: it has returned a coroutine or a generator, so that its work was not done.
        """
        if self.is_booted:
            _call_back(callback)
        else:
            self._booted.append(callback)

    def bootstrap(self) -> Self:
        """Read the environment and the configuration, register all providers, then boot them; once.

        What a try that has failed has bound is taken back, so that another one begins where it began.

        Raises:
            ConfigError: a setting, or a provider's name, is wrong.
        """
        if self.is_booted:
            return self
        take_back = self._checkpoint()
        try:
            self._boot()
        except BaseException:
            take_back()
            raise
        return self

    def _boot(self) -> None:
        if str(self._base_path) not in sys.path:
            sys.path.insert(0, str(self._base_path))
        found = load_environment(self._base_path, self._requested)
        self._environment = found.name
        self._load_config()
        self._tell_missing_files(found)
        # As with Laravel, one that is declared twice is registered once.
        providers = [found(self) for found in dict.fromkeys(map(_provider_class, self._declared))]
        for provider in providers:
            _run(provider, "registered", provider.register)
        for provider in providers:
            if provider.boot is not None:
                _run(provider, "booted", partial(self.call, provider.boot))
        self.is_booted = True
        Application.current = self
        for callback in self._booted:
            _call_back(callback)

    def _checkpoint(self) -> Callable[[], None]:
        """What takes back all that a try to boot may do to this application."""
        parts = [self.checkpoint(), self._events.checkpoint()]
        callbacks, current = list(self._booted), Application.current

        def take_back() -> None:
            for part in parts:
                part()
            self._booted = callbacks
            self.is_booted = False
            Application.current = current

        return take_back

    def leave_within(self, seconds: float) -> None:
        """Have `run` end the process when its command has returned, whatever threads or children are left by then.

        Exit hooks have so many seconds.
        """
        self._leave_within = seconds

    def run(self, argv: Sequence[str]) -> int:
        """Run a console command, then what it has deferred; the exit code. `argv` is without the program's name.

        It does not return where the command has asked for the end of the process, as `queue:work` does.
        """
        with deferring() as end:
            status = self._run(argv)
            end.has_failed = status != 0
        if self._leave_within is not None:
            leave(status, seconds=self._leave_within)
        return status

    def _run(self, argv: Sequence[str]) -> int:
        options = GlobalOptions()
        if threading.current_thread() is threading.main_thread():
            keep_pauses(argv)
        try:
            options, rest = split_global_options(argv)
            self._request(options.env)
            self.bootstrap()
        except KeyboardInterrupt:
            return INTERRUPTED
        except Exception as error:
            # The top of the main thread: a provider may raise anything, and there is no kernel yet that would tell.
            return Handler(self).render(error, verbosity=options.verbosity)
        return Kernel(self, self.make(CommandTable)).run(rest, options)

    def _request(self, environment: str | None) -> None:
        if self.is_booted and environment is not None and canonical(environment) != self._environment:
            raise ConsoleError(
                f"The application runs in {self._environment} by now: --env={environment} comes too late."
            )
        self._requested = environment

    def _bind_self(self) -> None:
        self.instance(contracts.Application, self)
        self.instance(contracts.Container, self)
        self.instance(Application, self)
        self.instance(Container, self)
        self.instance(CommandTable, CommandTable())
        self.instance(contracts.Events, self._events)
        self.alias(contracts.Events, Dispatcher)
        self.alias(contracts.Config, Repository)
        self.instance(contracts.ExceptionHandler, Handler(self))
        maintenance = FileMaintenance(self.path("storage", "framework", "down"))
        self.instance(FileMaintenance, maintenance)
        self.instance(contracts.Maintenance, maintenance)

    def _tell_missing_files(self, found: Environment) -> None:
        if found.is_inherited:
            return
        if found.missing is not None:
            log.warning("the file of this environment is missing; .env was read", extra={"file": found.missing})
        elif found.file is None and self.path(".env.example").is_file():
            log.warning("there is no .env; settings have their defaults", extra={"advice": "cp .env.example .env"})

    def _load_config(self) -> None:
        config = load_config(self.path("config"))
        if config.has("app.env"):
            config.set("app.env", self._environment)  # it was read without --env
        self.instance(contracts.Config, config)
        name = config.get("app.timezone", "Europe/London")
        try:
            self.instance(ZoneInfo, ZoneInfo(str(name)))
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a folder such as Europe
            raise ConfigError(
                f"config/app.py has the timezone {name!r}, which is unknown; use one like UTC."
            ) from error
        logging_settings = config.get("logging")
        if logging_settings is not None:
            configure(logging_settings, lambda path: self.path(path))


def _run(provider: ServiceProvider, step: str, call: Callable[[], object]) -> None:
    """Let a provider do its part; what it raises says whose part that was."""
    name = f"{type(provider).__module__}:{type(provider).__qualname__}"
    try:
        refuse_unrun(call(), f"The provider {name}, when it was {step},", ConfigError)
    except SystemExit as error:
        raise ConfigError(f"The provider {name} wanted to end the program when it was {step}: {error!r}.") from error
    except Exception as error:
        error.add_note(f"It was raised when the provider {name} was {step}.")
        raise


def _call_back(callback: Callable[[], object]) -> None:
    refuse_unrun(callback(), f"The callback {name_of(callback)}, for when all providers are booted,", ConfigError)


def _provider_class(declared: str | type[ServiceProvider]) -> type[ServiceProvider]:
    if not isinstance(declared, str):
        return declared
    module, _, name = declared.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(f"bootstrap/app.py names the provider {declared!r}, which breaks: {why}.") from error
    if not (isinstance(found, type) and issubclass(found, ServiceProvider)):
        raise ConfigError(f"bootstrap/app.py names the provider {declared!r}, which is no ServiceProvider.")
    return found
