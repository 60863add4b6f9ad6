"""The jobs of queue connections with the driver `database`; the columns are Laravel's."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from lamplighter.database.model import id_type

revision = "lamplighter_jobs"
down_revision = None

TABLE, INDEX = "jobs", "jobs_next_index"
LARAVELS_INDEX = "jobs_queue_index"


def upgrade() -> None:
    # Laravel's table stays as it is, with its jobs.
    if not sa.inspect(op.get_bind()).has_table(TABLE):
        create_table()
    # By it a worker finds the next job, however many wait.
    op.create_index(INDEX, TABLE, ["queue", "available_at", "id"])


def downgrade() -> None:
    if LARAVELS_INDEX in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(TABLE)}:
        op.drop_index(INDEX, TABLE)
    else:
        op.drop_table(TABLE)


def create_table() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        TABLE,
        sa.Column("id", number, sa.Identity(), primary_key=True, autoincrement=True),
        sa.Column("queue", id_type(255), nullable=False),
        sa.Column("payload", sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("reserved_at", sa.BigInteger()),
        sa.Column("available_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
        sqlite_autoincrement=True,  # a number is never given twice
        # Each row is written twice and deleted: room for the second, and a vacuum before there are many of the third.
        postgresql_with={
            "fillfactor": 70,
            "autovacuum_vacuum_scale_factor": 0.02,
            "autovacuum_vacuum_threshold": 1000,
        },
    )
