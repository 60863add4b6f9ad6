"""How the tables of a database are made and changed: alembic's operations, in files that run one after the other."""

from lamplighter.database.migrations.migrator import Migrator, Status
from lamplighter.database.migrations.running import Told, Warn

__all__ = ["Migrator", "Status", "Told", "Warn"]
