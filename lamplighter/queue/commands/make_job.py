"""`make:job`: writes a job class that runs."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.console.generators import Generator
from lamplighter.contracts import Application

STUB = '''"""{{ class }}: what it is for, in one line."""

import logging
from dataclasses import dataclass

from lamplighter import Delivery, Job

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class {{ class }}(Job):
    """Say what it does, and why it is safe to run twice: a job runs at least once."""

    name = "{{ name }}"  # on the wire, for ever
    tries = 3
    backoff = (1, 5, 30)  # seconds

    greeting: str = "hello"

    def handle(self, delivery: Delivery) -> None:
        """Do the work; whatever else is needed is asked for by annotation, beside the delivery."""
        log.info("%s from {{ class }}", self.greeting, extra={"attempts": delivery.attempts})
'''


class MakeJobCommand(Command):
    """Create a job class."""

    name = "make:job"
    description = "Create a job class"

    def __init__(self, app: Application) -> None:
        self._app = app

    def handle(
        self,
        class_name: Annotated[str, typer.Argument(metavar="NAME", help="The class, such as SendLetter")],
        force: Annotated[bool, typer.Option("--force", help="Replace the job if it exists")] = False,
    ) -> None:
        """Write the file and say where it is."""
        generator = Generator(self._app.base_path)
        generator.announce(self.output, "Job", generator.create("Job", class_name, "app/Jobs", STUB, force=force))
