"""Changes a row."""

from dataclasses import dataclass
from typing import Any, Self
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.Services.answers import Answers
from app.Services.events import field, table_of, update_head
from app.Services.refusal import Refusal, invalid, not_found
from app.Services.rows import Rows
from app.Services.tables import PAIR
from app.Services.values import checked, is_storable_id
from lamplighter.contracts import Delivery
from lamplighter.queue.job import Job


@dataclass(frozen=True)
class UpdateData(Job):
    """Change the fields that are named. Run again, it writes the same values once more."""

    name = "job.data.update"

    data: Any

    @classmethod
    def from_data(cls, data: object) -> Self:
        """Any data at all: what does not fit is answered, so that the asker hears of it."""
        return cls(data)

    def to_data(self) -> object:
        """The data as they were given."""
        return self.data

    def handle(self, delivery: Delivery, session: Session, answers: Answers, zone: ZoneInfo) -> None:
        """Row first, answer second."""
        head = update_head(self.data)
        try:
            row = self._update(Rows(session, zone))
        except Refusal as refusal:
            answers.refused(delivery, head, refusal)
            return
        answers.found(delivery, head, row)

    def failed(self, error: BaseException, delivery: Delivery, answers: Answers) -> None:
        """Tell the asker; what it was stays among the failed jobs."""
        answers.failed(delivery, update_head(self.data))

    def replay(self, session: Session, zone: ZoneInfo) -> bool:
        """Do it again without an answer; whether it held."""
        try:
            self._update(Rows(session, zone))
        except Refusal:
            return False
        return True

    def _update(self, rows: Rows) -> dict[str, Any]:
        table = table_of(self.data)
        if table.name == PAIR:
            raise invalid(f"A {PAIR} can't be updated: it is only the pair of its ids")
        values = checked(table, field(self.data, "values"), creating=False)
        id = field(self.data, "id")
        row = rows.update(table, id, values) if is_storable_id(id) else None
        if row is None:
            raise not_found()
        return row
