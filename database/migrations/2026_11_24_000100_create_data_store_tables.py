"""The nine tables of the Data Store."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from lamplighter.database.model import id_type

revision = "2026_11_24_000100"
down_revision = None

TABLES = ("provider", "service", "contact", "venue", "event", "taxonomy", "taxonomy_ref", "costoption", "eligibility")


def text() -> sa.types.TypeEngine[str]:
    """Text as long as a message."""
    return sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "provider",
        sa.Column("id", id_type(), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", text()),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.Column("venue_id", id_type()),
        sa.Column("contact_id", id_type()),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("flagged", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "service",
        sa.Column("id", id_type(), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", text()),
        sa.Column("provider_id", id_type(), nullable=False),
        sa.Column("event_id", id_type()),
        sa.Column("eligibility_id", id_type()),
        sa.Column("costoption_id", id_type()),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("flagged", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "contact",
        sa.Column("id", id_type(), primary_key=True),
        sa.Column("url", text()),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("position", sa.String(255)),
        sa.Column("social_facebook", sa.String(255)),
        sa.Column("social_twitter", sa.String(255)),
        sa.Column("phonenumber", sa.String(255)),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("flagged", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "venue",
        sa.Column("id", id_type(), primary_key=True),
        sa.Column("service_id", id_type(), nullable=False),
        sa.Column("provider_id", id_type()),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("address", text(), nullable=False),
        sa.Column("details", text(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("flagged", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "event",
        sa.Column("id", id_type(), primary_key=True),
        sa.Column("details", text(), nullable=False),
        sa.Column("time", sa.String(255), nullable=False),
        sa.Column("venue_id", id_type(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "taxonomy",
        sa.Column("id", id_type(), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
    )
    op.create_table(
        "taxonomy_ref",
        sa.Column("service_id", id_type(), primary_key=True),
        sa.Column("taxonomy_id", id_type(), primary_key=True),
    )
    op.create_table(
        "costoption",
        sa.Column("id", id_type(), primary_key=True),
        sa.Column("option", text(), nullable=False),
    )
    op.create_table(
        "eligibility",
        sa.Column("id", id_type(), primary_key=True),
        sa.Column("eligibility", text(), nullable=False),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
