"""Creates a row."""

from dataclasses import dataclass
from typing import Any, Self
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.Services.answers import Answers
from app.Services.events import create_head, field, table_of
from app.Services.refusal import Refusal, invalid
from app.Services.rows import Rows
from app.Services.tables import PAIR
from app.Services.values import MAX_ID, checked, is_storable_id
from lamplighter.contracts import Delivery
from lamplighter.queue.job import Job


@dataclass(frozen=True)
class StoreData(Job):
    """Insert a row under the message's key. Run again, it finds its own row and answers with it."""

    name = "job.data.store"

    data: Any

    @classmethod
    def from_data(cls, data: object) -> Self:
        """Any data at all: what does not fit is answered, so that the asker hears of it."""
        return cls(data)

    def to_data(self) -> object:
        """The data as they were given."""
        return self.data

    def handle(self, delivery: Delivery, session: Session, answers: Answers, zone: ZoneInfo) -> None:
        """Row first, answer second: an answer must not tell of a row that a crash takes back."""
        head = create_head(self.data, delivery)
        try:
            row = self._create(Rows(session, zone), head["id"])
        except Refusal as refusal:
            answers.refused(delivery, head, refusal)
            return
        answers.found(delivery, head, row)

    def failed(self, error: BaseException, delivery: Delivery, answers: Answers) -> None:
        """Tell the asker; what it was stays among the failed jobs."""
        answers.failed(delivery, create_head(self.data, delivery))

    def replay(self, session: Session, zone: ZoneInfo, key: bytes) -> bool:
        """Do it again without an answer; whether it held."""
        try:
            self._create(Rows(session, zone), key.decode("utf-8", "replace"))
        except Refusal:
            return False
        return True

    def _create(self, rows: Rows, id: str | None) -> dict[str, Any]:
        table = table_of(self.data)
        values = checked(table, field(self.data, "values"), creating=True)
        if id is None or not is_storable_id(id):
            raise invalid(f"The message's key can't be an id: ids are text of 1 to {MAX_ID} characters")
        key = {} if table.name == PAIR else {"id": id}
        if table.name == PAIR:
            key = {column.name: values[column.name] for column in table.primary_key.columns}
        return rows.create(table, key, values)
