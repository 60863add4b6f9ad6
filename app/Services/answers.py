"""What the Data Store answers on the topic `api`."""

from typing import Any

import msgspec

from app.Services.refusal import Refusal
from lamplighter.contracts import Delivery
from lamplighter.queue.dispatcher import Dispatcher

DATA = "job.api.data"
ERROR = "job.api.error"
MOST_BYTES = 6  # that a letter takes in JSON
ENVELOPE = 2_000  # bytes of all that is no letter of the row, with room to spare
LEAVE_OUT = ("query", "type", "queryType", "id")  # of an error that would be too large: one after the other


class Answers:
    """Pushes answers under the key of what they answer; each method returns when the broker has it."""

    def __init__(self, dispatcher: Dispatcher, queue: str) -> None:
        self._dispatcher = dispatcher
        self._queue = queue

    def found(self, delivery: Delivery, head: dict[str, Any], data: Any) -> None:
        """200: a row, or a page of rows; a page that is too large holds fewer, a row that is too large is 500."""
        body = _body(head, 200, "Found", data)
        while not self._is_small(delivery, head, data) and not self._fits(delivery, DATA, body):
            if not isinstance(data, list) or len(data) <= 1:
                self.failed(delivery, head)
                return
            data = data[: len(data) // 2]
            body = _body(head, 200, "Found", data)
        self._push(delivery, DATA, body)

    def refused(self, delivery: Delivery, head: dict[str, Any], refusal: Refusal) -> None:
        """404 or 422; what would be too large of it is null."""
        data = refusal.data
        body = _body(head, refusal.code, refusal.message, data)
        if not self._fits(delivery, ERROR, body) and isinstance(data, dict):
            body = _body(head, refusal.code, refusal.message, {**data, "fields": None})
        self._push_error(delivery, head, body)

    def failed(self, delivery: Delivery, head: dict[str, Any]) -> None:
        """500: it failed for good; what it was stays here."""
        self._push_error(delivery, head, _body(head, 500, "Server error", None))

    def _push_error(self, delivery: Delivery, head: dict[str, Any], body: dict[str, Any]) -> None:
        for name in LEAVE_OUT:
            if self._fits(delivery, ERROR, body):
                break
            if name in head:
                body = {**body, name: None}
        self._push(delivery, ERROR, body)

    def _is_small(self, delivery: Delivery, head: dict[str, Any], data: Any) -> bool:
        """Whether an answer about one row fits for sure, so that it need not be written twice to find out."""
        if "query" in head or not isinstance(data, dict):
            return False
        letters = sum(len(value) for value in (*head.values(), *data.values()) if isinstance(value, str))
        return MOST_BYTES * letters + ENVELOPE <= self._dispatcher.limit(delivery.connection)

    def _fits(self, delivery: Delivery, name: str, body: dict[str, Any]) -> bool:
        try:
            size = self._dispatcher.payload_size(name, body, delivery.key or None)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            return False  # what was sent can be read but not written, such as a number of a hundred digits
        return size <= self._dispatcher.limit(delivery.connection)

    def _push(self, delivery: Delivery, name: str, body: dict[str, Any]) -> None:
        self._dispatcher.push(name, body, connection=delivery.connection, queue=self._queue, key=delivery.key or None)


def _body(head: dict[str, Any], code: int, message: str, data: Any) -> dict[str, Any]:
    return {**head, "error": code != 200, "code": code, "message": message, "data": data}
