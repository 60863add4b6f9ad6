"""What the three jobs share: they take any data, act, and answer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from app.Services.answers import Answers
from app.Services.refusal import Refusal
from app.Services.rows import Rows
from lamplighter import Delivery, Job


@dataclass(frozen=True)
class EventJob(Job, ABC):
    """An event of another service. A subclass says how its answer begins, and what it does."""

    data: Any

    @classmethod
    def from_data(cls, data: object) -> Self:
        """Any data at all: what does not fit is answered, so that the asker hears of it."""
        return cls(data)

    def to_data(self) -> object:
        """The data as they were given."""
        return self.data

    @abstractmethod
    def head(self, delivery: Delivery) -> dict[str, Any]:
        """How the answer begins: with what it is about."""

    @abstractmethod
    def act(self, rows: Rows, head: dict[str, Any]) -> Any:
        """Do it; the row, or the page of rows, to answer with.

        Raises:
            Refusal: the answer is another one.
        """

    def handle(self, delivery: Delivery, rows: Rows, answers: Answers) -> None:
        """Row first, answer second: an answer must not tell of a row that a crash takes back."""
        head = self.head(delivery)
        try:
            found = self.act(rows, head)
        except Refusal as refusal:
            answers.refused(delivery, head, refusal)
            return
        answers.found(delivery, head, found)

    def failed(self, error: BaseException, delivery: Delivery, answers: Answers) -> None:
        """Tell the asker; what it was stays among the failed jobs."""
        answers.failed(delivery, self.head(delivery))

    def replay(self, rows: Rows, key: str | None, at: datetime | None) -> bool:
        """Do it again without an answer, as of the time `at`; whether it held."""
        try:
            self.act(rows.as_of(at), {"id": key})
        except Refusal:
            return False
        return True
