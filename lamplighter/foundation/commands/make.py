"""`make:command` and `make:provider`."""

import re
from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.console.generators import Generator
from lamplighter.contracts import Application
from lamplighter.errors import ConsoleError
from lamplighter.support.strings import snake

COMMAND_NAME = re.compile(r"[a-zA-Z0-9_][\w-]*(:[\w-]+)*", re.ASCII)
COMMAND_STUB = '''"""The command `{{ command }}`."""

from typing import Annotated

import typer

from lamplighter import Command

Name = Annotated[str, typer.Argument(help="Whom to greet")]
Shout = Annotated[bool, typer.Option(help="Say it louder")]


class {{ class }}(Command):
    """Greet somebody."""

    name = "{{ command }}"
    description = "Greet somebody"

    def handle(self, name: Name = "world", shout: Shout = False) -> None:
        greeting = f"Hello, {name}"
        self.output.info(greeting.upper() if shout else greeting)
'''

PROVIDER_STUB = '''"""What {{ class }} brings to the application."""

from lamplighter import ServiceProvider


class {{ class }}(ServiceProvider):
    """Binds services; here is the place to add commands, too."""

    def register(self) -> None:
        """Bind: `self.app.singleton(Mailer, make_mailer)`."""
'''

ClassName = Annotated[str, typer.Argument(help="The name of the class; folders stand before it: Admin/SendMail")]
Force = Annotated[bool, typer.Option(help="Overwrite the file if it is there")]
CommandName = Annotated[str | None, typer.Option("--command", help="The name by which it is called")]


class MakeCommandCommand(Command):
    """Create a command."""

    name = "make:command"
    description = "Create a command"

    def __init__(self, app: Application) -> None:
        self._generator = Generator(app.base_path)

    def handle(self, name: ClassName, command: CommandName = None, force: Force = False) -> None:
        class_name = name.replace("\\", "/").rpartition("/")[2]
        called = command or "app:" + snake(class_name).replace("_", "-")
        if not COMMAND_NAME.fullmatch(called):
            raise ConsoleError(
                f"A command can't be named {called!r}: a name has letters, digits, hyphens and underscores, and colons "
                f"between its parts, as send:letters."
            )
        stub = COMMAND_STUB.replace("{{ command }}", called)
        made = self._generator.create("Command", name, "app/Console/Commands", stub, force=force)
        self._generator.announce(self.output, "Command", made)
        self.output.line("  Add it in a service provider, and it is listed:")
        entry = f'CommandEntry("{called}", "Greet somebody", "{self._generator.target(name, made)}")'
        self.output.line(f"    self.commands({entry})")


class MakeProviderCommand(Command):
    """Create a service provider."""

    name = "make:provider"
    description = "Create a service provider"

    def __init__(self, app: Application) -> None:
        self._generator = Generator(app.base_path)

    def handle(self, name: ClassName, force: Force = False) -> None:
        made = self._generator.create("Provider", name, "app/Providers", PROVIDER_STUB, force=force)
        self._generator.announce(self.output, "Provider", made)
        self.output.line(f'  Add "{self._generator.target(name, made)}" to the providers in bootstrap/app.py.')
