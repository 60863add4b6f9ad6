"""A folder of migrations, written by a test, on a database."""

from pathlib import Path
from textwrap import indent

from sqlalchemy import Engine

from lamplighter.database.migrations import Migrator

FILE = '''"""A migration."""

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {behind!r}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
{downgrade}
'''


class Folder:
    """Writes migrations, and runs them; `told` are the names of those that ran, `warnings` what was warned of."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self.engine = engine
        self.told: list[str] = []
        self.warnings: list[str] = []
        self.migrator = Migrator(engine, path, warn=self.warnings.append)
        path.mkdir(exist_ok=True)

    def write(
        self, revision: str, upgrade: str = "pass", *, downgrade: str = "pass", behind: str | None = None
    ) -> Path:
        """One file, named as its revision."""
        path = self.path / f"{revision}.py"
        bodies = {"upgrade": indent(upgrade.strip(), " " * 4), "downgrade": indent(downgrade.strip(), " " * 4)}
        path.write_text(FILE.format(revision=revision, behind=behind, **bodies))
        return path

    def migrate(self) -> int:
        """Apply what waits."""
        return self.migrator.migrate(self._tell)

    def rollback(self) -> int:
        """Undo the last run."""
        return self.migrator.rollback(self._tell)

    def applied(self) -> list[str]:
        """The names of those that are applied."""
        return [status.name for status in self.migrator.status() if status.is_applied]

    def _tell(self, name: str, seconds: float) -> None:
        self.told.append(name)
