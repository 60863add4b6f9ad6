"""What the Data Store answers on the topic `api`: written whatever the event held, and cut to what a message holds."""

from typing import Any

import msgspec

from app.Services.refusal import Refusal
from app.Services.tables import place_of
from app.Services.written import written
from lamplighter import Delivery, Dispatcher
from lamplighter.errors import InvalidPayload, MessageTooLarge

DATA = "job.api.data"
ERROR = "job.api.error"
REPEATED = ("query", "type", "queryType", "id")  # what an answer repeats of its event, beside the `fields` of a 422

Row = dict[str, Any]
Body = dict[str, Any]


class Answers:
    """Pushes answers under the key of what they answer; each method returns when the broker has it."""

    def __init__(self, dispatcher: Dispatcher, queue: str) -> None:
        self._dispatcher = dispatcher
        self._queue = queue

    def found(self, delivery: Delivery, head: dict[str, Any], data: Any) -> None:
        """200: a row, or as many rows of a page as a message holds; 500 where one row alone is too large for it."""
        if isinstance(data, list):
            self._page(delivery, head, data)
            return
        if self._push(delivery, DATA, _body(head, 200, "Found", data)) is not None:
            self.failed(delivery, head)

    def refused(self, delivery: Delivery, head: dict[str, Any], refusal: Refusal) -> None:
        """404 or 422."""
        self._error(delivery, _body(head, refusal.code, refusal.message, refusal.data))

    def failed(self, delivery: Delivery, head: dict[str, Any]) -> None:
        """500: it failed for good; what it was stays here."""
        self._error(delivery, _body(head, 500, "Server error", None))

    def _page(self, delivery: Delivery, head: dict[str, Any], rows: list[Row]) -> None:
        body = _body(head, 200, "Found", rows)
        if self._first_rows(delivery, body, rows) or self._first_rows(delivery, {**body, "query": None}, rows):
            return
        if not rows:
            self.failed(delivery, head)
            return
        place = written(place_of(rows[0])).decode()
        told = f"Server error: the row {place} is too large for a message; the next page begins after it"
        self._error(delivery, _body(head, 500, told, None))

    def _first_rows(self, delivery: Delivery, body: Body, rows: list[Row]) -> bool:
        """Push as many rows as fit; False where not even the first one does."""
        page = rows
        while (error := self._push(delivery, DATA, {**body, "data": page})) is not None:
            page = _shorter(page, error)
            if not page:
                return False
        return True

    def _error(self, delivery: Delivery, body: Body) -> None:
        """An answer without a row; what is too large of what it repeats is null, the largest first."""
        while (error := self._push(delivery, ERROR, body)) is not None:
            name = _largest(body)
            if name is None:
                raise error
            body = _without(body, name)

    def _push(self, delivery: Delivery, name: str, body: Body) -> MessageTooLarge | None:
        """Push an answer, unless it is too large; then why."""
        try:
            self._dispatch(delivery, name, body)
        except MessageTooLarge as error:
            return error
        except InvalidPayload:
            return self._push_written(delivery, name, body)
        return None

    def _push_written(self, delivery: Delivery, name: str, body: Body) -> MessageTooLarge | None:
        """What dispatch does not write: half of a surrogate pair is written as an escape, which workers read."""
        try:
            self._dispatch(delivery, name, msgspec.Raw(written(body)))
        except MessageTooLarge as error:
            return error
        except InvalidPayload:
            # `query` and `fields` stand a level deeper than what they repeat did: one more than is read.
            shallower = _without(body, "query" if body.get("query") is not None else "fields")
            if shallower == body:
                raise
            return self._push_written(delivery, name, shallower)
        return None

    def _dispatch(self, delivery: Delivery, name: str, data: object) -> None:
        key = delivery.key or None
        self._dispatcher.push(name, data, connection=delivery.connection, queue=self._queue, key=key)


def _body(head: dict[str, Any], code: int, message: str, data: Any) -> Body:
    return {**head, "error": code != 200, "code": code, "message": message, "data": data}


def _shorter(page: list[Row], error: MessageTooLarge) -> list[Row]:
    """The first rows of a page, without as many bytes of the last ones as it has too many."""
    if error.size is None or error.limit is None:  # who has refused it does not say: it is tried
        return page[:-1]
    excess = error.size - error.limit
    for count in range(len(page) - 1, -1, -1):
        excess -= len(written(page[count])) + len(",")
        if excess <= 0:
            return page[:count]
    return []


def _largest(body: Body) -> str | None:
    """What takes most of what an answer repeats, and its data at last; None where all of it is null."""
    data = body["data"]
    repeated = {"fields": data["fields"]} if isinstance(data, dict) else {}
    repeated |= {name: body.get(name) for name in REPEATED}
    sizes = {name: len(written(value)) for name, value in repeated.items() if value is not None}
    if sizes:
        return max(sizes, key=lambda name: sizes[name])
    return "data" if isinstance(data, dict) else None


def _without(body: Body, name: str) -> Body:
    """The same with null for something that it repeats."""
    if name != "fields":
        return {**body, name: None}
    data = body["data"]
    return {**body, "data": {**data, "fields": None}} if isinstance(data, dict) else body
