"""Creates a row."""

from typing import Any

from app.Services.event_job import EventJob
from app.Services.events import create_head, field, table_of
from app.Services.refusal import invalid
from app.Services.rows import Rows
from app.Services.tables import PAIR
from app.Services.values import MAX_ID, checked, is_storable_id
from lamplighter.contracts import Delivery


class StoreData(EventJob):
    """Insert a row under the message's key. Run again, it finds its own row and answers with it."""

    name = "job.data.store"

    def head(self, delivery: Delivery) -> dict[str, Any]:
        """The type, and the key as id."""
        return create_head(self.data, delivery)

    def act(self, rows: Rows, head: dict[str, Any]) -> dict[str, Any]:
        """Check the values, then the key, then insert."""
        table = table_of(self.data)
        values = checked(table, field(self.data, "values"), creating=True)
        id = head["id"]
        if not is_storable_id(id):
            raise invalid(f"The message's key can't be an id: ids are text of 1 to {MAX_ID} characters")
        if table.name == PAIR:
            key = {column.name: values[column.name] for column in table.primary_key.columns}
        else:
            key = {"id": id}
        return rows.create(table, key, values)
