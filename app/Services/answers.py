"""What the Data Store answers on the topic `api`."""

from typing import Any

from app.Services.refusal import Refusal
from lamplighter.contracts import Delivery
from lamplighter.errors import InvalidPayload, MessageTooLarge
from lamplighter.queue.dispatcher import Dispatcher

DATA = "job.api.data"
ERROR = "job.api.error"
LEAVE_OUT = ("query", "type", "queryType", "id")  # of an error that would be too large: one after the other


class Answers:
    """Pushes answers under the key of what they answer; each method returns when the broker has it."""

    def __init__(self, dispatcher: Dispatcher, queue: str) -> None:
        self._dispatcher = dispatcher
        self._queue = queue

    def found(self, delivery: Delivery, head: dict[str, Any], data: Any) -> None:
        """200: a row, or a page of rows; a page that is too large holds fewer, a row that is too large is 500."""
        while not self._push(delivery, DATA, _body(head, 200, "Found", data)):
            if not isinstance(data, list) or len(data) <= 1:
                self.failed(delivery, head)
                return
            data = data[: len(data) // 2]

    def refused(self, delivery: Delivery, head: dict[str, Any], refusal: Refusal) -> None:
        """404 or 422; what would be too large of it is null."""
        data = refusal.data
        body = _body(head, refusal.code, refusal.message, data)
        if self._push(delivery, ERROR, body):
            return
        if isinstance(data, dict):
            body = {**body, "data": {**data, "fields": None}}
        self._push_error(delivery, head, body)

    def failed(self, delivery: Delivery, head: dict[str, Any]) -> None:
        """500: it failed for good; what it was stays here."""
        self._push_error(delivery, head, _body(head, 500, "Server error", None))

    def _push_error(self, delivery: Delivery, head: dict[str, Any], body: dict[str, Any]) -> None:
        left_out = [name for name in LEAVE_OUT if name in head]
        while not self._push(delivery, ERROR, body, is_least=not left_out):
            body = {**body, left_out.pop(0): None}

    def _push(self, delivery: Delivery, name: str, body: dict[str, Any], *, is_least: bool = False) -> bool:
        """Push an answer; False when it is too large, or can't be written, and there is a smaller one."""
        key = delivery.key or None
        try:
            self._dispatcher.push(name, body, connection=delivery.connection, queue=self._queue, key=key)
        except (MessageTooLarge, InvalidPayload):  # what was sent can be read but not written: half a surrogate pair
            if is_least:
                raise
            return False
        return True


def _body(head: dict[str, Any], code: int, message: str, data: Any) -> dict[str, Any]:
    return {**head, "error": code != 200, "code": code, "message": message, "data": data}
