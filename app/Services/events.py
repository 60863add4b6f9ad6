"""What an event from the wire asks for, and how its answer begins."""

from typing import Any

from sqlalchemy import Table

from app.Services.refusal import invalid
from app.Services.tables import TABLES, known_types
from app.Services.values import as_object
from lamplighter import Delivery

INDEX, SELECT = "index", "select"


def field(data: object, name: str) -> Any:
    """One of the data's fields as it was sent; None where the data are no object."""
    found = as_object(data)
    return None if found is None else found.get(name)


def table_of(data: object) -> Table:
    """The table that `type` names.

    Raises:
        Refusal: 422, naming the types that are known.
    """
    if as_object(data) is None:
        raise invalid(f"data must be an object with a type, which is one of {known_types()}")
    name = field(data, "type")
    table = TABLES.get(name) if isinstance(name, str) else None
    if table is None:
        raise invalid(f"Unknown type: there are {known_types()}")
    return table


def key_text(delivery: Delivery) -> str | None:
    """The key, or the payload's `id` or `uuid` where there is none; None for a key that is no text."""
    try:
        return delivery.key.decode() if delivery.key else delivery.id
    except UnicodeDecodeError:
        return None


def create_head(data: object, delivery: Delivery) -> dict[str, Any]:
    """How the answer to a create begins."""
    return {"type": field(data, "type"), "id": key_text(delivery)}


def update_head(data: object) -> dict[str, Any]:
    """How the answer to an update begins."""
    return {"type": field(data, "type"), "id": field(data, "id")}


def query_head(data: object) -> dict[str, Any]:
    """How the answer to a query begins: with the query itself."""
    kind = field(data, "queryType")
    kind = INDEX if kind is None else kind
    id = None if kind == INDEX else field(data, "id")
    return {"query": data, "queryType": kind, "type": field(data, "type"), "id": id}
