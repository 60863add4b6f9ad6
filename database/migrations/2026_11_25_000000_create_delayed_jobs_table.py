"""Jobs that are held back for long; times are milliseconds since 1970 by the brokers' clock."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from lamplighter.database.model import id_type

revision = "2026_11_25_000000"
down_revision = None


def upgrade() -> None:
    binary = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
    op.create_table(
        "delayed_jobs",
        sa.Column("id", id_type(32), primary_key=True),
        sa.Column("job_id", id_type(255), nullable=False, index=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("connection", sa.String(255), nullable=False),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("payload", binary, nullable=False),
        sa.Column("key", binary),
        sa.Column("headers", sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")),
        sa.Column("due_at", sa.BigInteger(), nullable=False, index=True),
        sa.Column("leased_until", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("lease", id_type(32), index=True),
    )


def downgrade() -> None:
    op.drop_table("delayed_jobs")
