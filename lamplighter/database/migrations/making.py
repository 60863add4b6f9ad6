"""Writes new files of migrations."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lamplighter.database.migrations.revisions import Revision, is_own, read
from lamplighter.errors import MigrationError
from lamplighter.support.files import write_new

TEMPLATE = '''"""{title}."""

import sqlalchemy as sa
from alembic import op

revision = {revision}
down_revision = {down_revision}


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


def make(
    folder: Path, name: str, *, create: str | None = None, table: str | None = None, template: str = TEMPLATE
) -> Path:
    """Write a migration that comes after the application's newest; `create` names a table that it makes, `table` one
    that it changes.

    Without either the name may tell: `create_letters_table`, `add_colour_to_letters_table`. A template of another text
    says itself what is done; `{title}`, `{revision}` and `{down_revision}` are filled in.

    Raises:
        MigrationError: the name has neither letters nor digits, or those that are there do not fit together.
    """
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not slug:
        raise MigrationError(f"A migration can't be named {name!r}: a name has letters and digits.")
    if create is None and table is None:
        create, table = _guessed_tables(slug)
    revisions = read(folder)
    revision = _free(revisions)
    newest = _newest(revisions)
    upgrade, downgrade = _bodies(create, table)
    path = folder / f"{revision}_{slug}.py"
    folder.mkdir(parents=True, exist_ok=True)
    text = template.format(
        title=slug.replace("_", " ").capitalize(),
        revision=_quoted(revision),
        # More than one newest comes from merged branches; this one joins them.
        down_revision=_quoted(newest if len(newest) > 1 else newest[0]) if newest else None,
        upgrade=upgrade,
        downgrade=downgrade,
    )
    write_new(path, text)
    return path


def _newest(revisions: list[Revision]) -> list[str]:
    """The application's migrations that none of them comes after. The framework's may be removed from a project."""
    applications = [revision for revision in revisions if not is_own(revision.id)]
    parents = {id for revision in applications for id in revision.parents}
    return sorted(revision.id for revision in applications if revision.id not in parents)


def _free(revisions: list[Revision]) -> str:
    taken = {revision.id for revision in revisions}
    moment = datetime.now(UTC)
    while (revision := moment.strftime("%Y_%m_%d_%H%M%S")) in taken:
        moment += timedelta(seconds=1)
    return revision


def _guessed_tables(slug: str) -> tuple[str | None, str | None]:
    """The table that a migration of this name makes, and the one that it changes."""
    made = re.fullmatch(r"create_(\w+?)(_table)?", slug)
    changed = re.fullmatch(r"\w+_(?:to|from|in)_(\w+?)(_table)?", slug)
    return (made[1], None) if made else (None, changed[1] if changed else None)


def _bodies(create: str | None, table: str | None) -> tuple[str, str]:
    """What stands in `upgrade` and in `downgrade`."""
    if create is not None:
        columns = 'sa.Column("id", sa.String(36), primary_key=True)'
        return f"op.create_table({_quoted(create)}, {columns})", f"op.drop_table({_quoted(create)})"
    if table is not None:
        # A batch, since SQLite can't change most of a table in place.
        change = f"with op.batch_alter_table({_quoted(table)}) as table:\n        pass"
        return change, change
    return "pass", "pass"


def _quoted(text: str | list[str]) -> str:
    return json.dumps(text, ensure_ascii=False)
