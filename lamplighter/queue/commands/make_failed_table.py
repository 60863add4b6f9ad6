"""`make:queue-failed-table`, also `queue:failed-table`: writes a migration for the table of failed jobs."""

import json
import re
from pathlib import Path

from lamplighter.console.command import Command
from lamplighter.contracts import Application, Config
from lamplighter.database.commands.folder import FOLDER
from lamplighter.database.migrations.making import make
from lamplighter.errors import ConsoleError
from lamplighter.support.files import read_file

TEMPLATE = '''"""{title}: Laravel's columns, and what only we know of a message beside them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from lamplighter.database.model import id_type

revision = {revision}
down_revision = {down_revision}

TABLE = %s


def upgrade() -> None:
    large = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    binary = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        TABLE,
        sa.Column("id", number, sa.Identity(), primary_key=True, autoincrement=True),
        sa.Column("uuid", id_type(255), nullable=False, unique=True),
        sa.Column("connection", sa.String(255), nullable=False),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("payload", large, nullable=False),
        sa.Column("exception", large, nullable=False),
        sa.Column("failed_at", sa.DateTime(), nullable=False, server_default=sa.func.now()),
        sa.Column("key", binary),
        sa.Column("headers", large),
        sa.Column("origin", sa.String(512)),
        sa.Column("payload_bytes", binary),
    )
    op.create_index(f"ix_{{TABLE}}_place", TABLE, ["connection", "queue", "failed_at"])


def downgrade() -> None:
    op.drop_table(TABLE)
'''


class MakeFailedTableCommand(Command):
    """Create a migration for the table of failed jobs."""

    name = "make:queue-failed-table"
    description = "Create a migration for the table of failed jobs"

    def __init__(self, app: Application, config: Config) -> None:
        self._app = app
        self._config = config

    def handle(self) -> None:
        """Write the file, for the table that config/queue.py names, unless a migration makes that table already."""
        table = self._config.string("queue.failed.table", "failed_jobs") or "failed_jobs"
        folder = self._app.path(FOLDER)
        older = _maker_of(table, folder)
        if older is not None:
            raise ConsoleError(f"The migration [{FOLDER}/{older.name}] makes the table {table} already.")
        path = make(folder, f"create_{table}_table", template=TEMPLATE % _quoted(table))
        self.output.info(f"Migration [{FOLDER}/{path.name}] created successfully.")


def _maker_of(table: str, folder: Path) -> Path | None:
    """The migration that makes a table, by its name or by its text."""
    names = re.compile(rf"(?:[0-9_]*_)?create_{re.escape(table)}_table\.py", re.IGNORECASE)
    makes = re.compile(rf"""(?:create_table\(\s*|^TABLE = )["']{re.escape(table)}["']""", re.MULTILINE)
    for path in sorted(folder.glob("*.py")):
        if names.fullmatch(path.name):
            return path
        try:
            text = read_file(path).decode("utf-8", "replace")
        except OSError as error:
            raise ConsoleError(f"The migration {FOLDER}/{path.name} can't be read: {error.strerror}.") from error
        if makes.search(text):
            return path
    return None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("{", "{{").replace("}", "}}")
