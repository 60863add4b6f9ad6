"""Binds what the Data Store's jobs ask for."""

from typing import Any
from zoneinfo import ZoneInfo

from lamplighter import CommandEntry, ServiceProvider
from lamplighter.contracts import Config

COMMANDS = (
    CommandEntry(
        "sample:publish",
        "Publish the sample events of a directory of services",
        "app.Console.Commands.sample_publish:SamplePublishCommand",
    ),
    CommandEntry("datastore:show", "Show what is stored", "app.Console.Commands.datastore_show:DatastoreShowCommand"),
    CommandEntry(
        "datastore:rebuild",
        "Replay the events into empty tables, without answers",
        "app.Console.Commands.datastore_rebuild:DatastoreRebuildCommand",
        is_destructive=True,
    ),
)


class DataStoreServiceProvider(ServiceProvider):
    """The Data Store's part of the application."""

    def register(self) -> None:
        """Bind; nothing is imported before a job needs it."""
        self.app.singleton("app.Services.answers:Answers", self._answers)
        self.app.singleton("app.Services.rows:Rows", self._rows)
        self.commands(*COMMANDS)

    def _answers(self) -> Any:
        from app.Services.answers import Answers
        from lamplighter import Dispatcher

        return Answers(self.app.make(Dispatcher), self.app.make(Config).string("datastore.answers", "api"))

    def _rows(self) -> Any:
        from app.Services.rows import Rows
        from lamplighter.database.statements import Statements

        return Rows(self.app.make(Statements), self.app.make(ZoneInfo))
