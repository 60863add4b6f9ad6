"""The database's part of the application; SQLAlchemy is imported when something asks for it."""

from typing import Any

from lamplighter.contracts import Config, DatabaseErrors
from lamplighter.database.errors import SqlAlchemyErrors
from lamplighter.support.provider import CommandEntry, ServiceProvider

COMMANDS = (
    CommandEntry("migrate", "Run the database migrations", "lamplighter.database.commands.migrate:MigrateCommand"),
    CommandEntry(
        "migrate:status", "Show which migrations have run", "lamplighter.database.commands.status:StatusCommand"
    ),
    CommandEntry(
        "migrate:rollback",
        "Undo what the last migrate did",
        "lamplighter.database.commands.rollback:RollbackCommand",
        is_destructive=True,
    ),
    CommandEntry("make:migration", "Create a migration", "lamplighter.database.commands.make:MakeMigrationCommand"),
)


class DatabaseServiceProvider(ServiceProvider):
    """Binds connections; each job is given a session of its own, or the engine where that is enough."""

    def register(self) -> None:
        """Bind."""
        self.app.instance(DatabaseErrors, SqlAlchemyErrors())
        self.app.singleton("lamplighter.database.manager:DatabaseManager", self._manager)
        self.app.singleton("lamplighter.database.transactions:Transactions", self._transactions)
        self.app.bind("sqlalchemy.engine.base:Engine", self._engine)
        self.app.singleton("lamplighter.database.statements:Statements", self._statements)
        self.app.scoped("sqlalchemy.orm.session:Session", self._session, end=lambda session: session.close())
        self.commands(*COMMANDS)

    def _manager(self) -> Any:
        from lamplighter.database.manager import DatabaseManager

        return DatabaseManager(self.app.make(Config), self.app.path)

    def _transactions(self) -> Any:
        from lamplighter.database.transactions import Transactions

        return Transactions()

    def _engine(self) -> Any:
        from lamplighter.database.manager import DatabaseManager

        # Asked for each time: a process that was forked has engines of its own.
        return self.app.make(DatabaseManager).engine()

    def _statements(self) -> Any:
        from lamplighter.database.manager import DatabaseManager

        return self.app.make(DatabaseManager).statements()

    def _session(self) -> Any:
        from lamplighter.database.manager import DatabaseManager

        return self.app.make(DatabaseManager).session()
