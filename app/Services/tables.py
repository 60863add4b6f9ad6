"""Which types there are: a name from the wire finds its table here, and nowhere else."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table

from app.Models.contact import Contact
from app.Models.costoption import Costoption
from app.Models.eligibility import Eligibility
from app.Models.event import Event
from app.Models.provider import Provider
from app.Models.service import Service
from app.Models.taxonomy import Taxonomy
from app.Models.taxonomy_ref import TaxonomyRef
from app.Models.venue import Venue
from lamplighter.database.model import Model

MODELS: tuple[type[Model], ...] = (
    Provider,
    Service,
    Contact,
    Venue,
    Event,
    Taxonomy,
    TaxonomyRef,
    Costoption,
    Eligibility,
)


def _table(model: type[Model]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


TABLES: Mapping[str, Table] = {table.name: table for table in map(_table, MODELS)}
PAIR = "taxonomy_ref"  # the one whose key is a pair of ids


def place_of(row: Mapping[str, Any]) -> str | list[str]:
    """What `after` says to go on behind a row of a page."""
    key = [row[column.name] for column in TABLES[row["type"]].primary_key.columns]
    return key if len(key) > 1 else key[0]


def known_types() -> str:
    """The types, for messages."""
    return ", ".join(sorted(TABLES))
