"""The failed jobs: Laravel's columns, and what Kafka knows of a message beside them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from lamplighter.database.model import id_type

revision = "2026_11_24_000000"
down_revision = None


def upgrade() -> None:
    large = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    binary = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "failed_jobs",
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


def downgrade() -> None:
    op.drop_table("failed_jobs")
