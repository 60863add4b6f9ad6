"""Changes a row."""

from typing import Any

from app.Services.event_job import EventJob
from app.Services.events import field, table_of, update_head
from app.Services.refusal import invalid, not_found
from app.Services.rows import Rows
from app.Services.tables import PAIR
from app.Services.values import checked, is_storable_id
from lamplighter import Delivery


class UpdateData(EventJob):
    """Change the fields that are named. Run again, it writes the same values once more."""

    name = "job.data.update"

    def head(self, delivery: Delivery) -> dict[str, Any]:
        """The type and the id, as they were sent."""
        return update_head(self.data)

    def act(self, rows: Rows, head: dict[str, Any]) -> dict[str, Any]:
        """Check the values, then look for the row."""
        table = table_of(self.data)
        if table.name == PAIR:
            raise invalid(f"A {PAIR} can't be updated: it is only the pair of its ids")
        values = checked(table, field(self.data, "values"), creating=False)
        id = field(self.data, "id")
        row = rows.update(table, id, values) if is_storable_id(id) else None
        if row is None:
            raise not_found()
        return row
