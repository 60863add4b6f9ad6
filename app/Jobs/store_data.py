"""Creates a row."""

from collections.abc import Sequence
from typing import Any, Self

from app.Services.answers import Answers
from app.Services.event_job import EventJob
from app.Services.events import create_head, field, table_of
from app.Services.refusal import Refusal, invalid
from app.Services.rows import Create, Rows
from app.Services.tables import PAIR
from app.Services.values import MAX_ID, checked, is_storable_id
from lamplighter import Delivery
from lamplighter.errors import InvalidPayload, MessageTooLarge


class StoreData(EventJob):
    """Insert a row under the message's key. Run again, it finds its own row and answers with it."""

    name = "job.data.store"
    batch_size = 500

    @classmethod
    def handle_many(
        cls, jobs: Sequence[Self], deliveries: Sequence[Delivery], rows: Rows, answers: Answers
    ) -> list[Exception | None] | None:
        """All rows first, in one transaction; the answers second, to each event its own."""
        heads = [job.head(delivery) for job, delivery in zip(jobs, deliveries, strict=True)]
        plans = [job.plan(head) for job, head in zip(jobs, heads, strict=True)]
        found = iter(rows.create_many([plan for plan in plans if isinstance(plan, Create)]))
        errors = [
            _answer(answers, delivery, head, plan if isinstance(plan, Refusal) else next(found))
            for delivery, head, plan in zip(deliveries, heads, plans, strict=True)
        ]
        return errors if any(errors) else None

    def head(self, delivery: Delivery) -> dict[str, Any]:
        """The type, and the key as id."""
        return create_head(self.data, delivery)

    def act(self, rows: Rows, head: dict[str, Any]) -> dict[str, Any]:
        """Check, then insert."""
        return rows.create(self._plan(head))

    def plan(self, head: dict[str, Any]) -> Create | Refusal:
        """The row to insert, or what to answer instead."""
        try:
            return self._plan(head)
        except Refusal as refusal:
            return refusal

    def _plan(self, head: dict[str, Any]) -> Create:
        """The values are checked before the key."""
        table = table_of(self.data)
        values = checked(table, field(self.data, "values"), creating=True)
        id = head["id"]
        if not is_storable_id(id):
            raise invalid(f"The message's key can't be an id: ids are text of 1 to {MAX_ID} characters")
        if table.name == PAIR:
            key = {column.name: values[column.name] for column in table.primary_key.columns}
        else:
            key = {"id": id}
        return Create(table, key, values)


def _answer(
    answers: Answers, delivery: Delivery, head: dict[str, Any], found: dict[str, Any] | Refusal
) -> Exception | None:
    """Answer one of many; what keeps it from being written is its own failure, and none of its neighbours'."""
    try:
        if isinstance(found, Refusal):
            answers.refused(delivery, head, found)
        else:
            answers.found(delivery, head, found)
    except (InvalidPayload, MessageTooLarge) as error:
        return error
    return None
