"""What stands between a store and its server, and spoils answers."""

import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lamplighter.queue.drivers.sqs.account import Access, Account
from lamplighter.queue.drivers.sqs.store import SqsStore
from tests.sqs import ACCOUNT, Moto


@dataclass(frozen=True)
class Answer:
    """What the client reads; it is told of `length` bytes where the body has another number."""

    body: bytes
    status: int = 200
    length: int | None = None


Spoil = Callable[[dict[str, Any], bytes], Answer]


class Between:
    """A server that passes questions on to moto.

    Attributes:
        spoil: by the name of an operation, how often its answers are spoiled, and what makes the answer that is read
            of the question and of moto's answer.
    """

    def __init__(self, moto: Moto) -> None:
        self.spoil: dict[str, tuple[int, Spoil]] = {}
        self.asked: list[str] = []
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                """Ask moto, and answer."""
                question = self.rfile.read(int(self.headers["Content-Length"]))
                operation = self.headers["X-Amz-Target"].partition(".")[2]
                between.asked.append(operation)
                answer = between._spoiled(operation, question, _asked(moto, self, question))
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection = answer.length is not None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def store(self, seconds: int = 30) -> SqsStore:
        """One worker's store that asks here."""
        prefix = f"http://127.0.0.1:{self._server.server_address[1]}/{ACCOUNT}"
        return SqsStore(Account(Access(region="us-east-1", key="test", secret="test", prefix=prefix)), seconds=seconds)

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _spoiled(self, operation: str, question: bytes, answer: Answer) -> Answer:
        left, spoil = self.spoil.get(operation, (0, None))
        if not left or spoil is None:
            return answer
        self.spoil[operation] = (left - 1, spoil)
        return spoil(json.loads(question), answer.body)


def refuse(code: str, status: int = 400) -> Spoil:
    """An error of the whole request."""
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "said so"}).encode()
    return lambda question, answer: Answer(body, status)


def fail_entries(code: str, *, is_fault: bool) -> Spoil:
    """All entries of a batch have failed."""

    def spoil(question: dict[str, Any], answer: bytes) -> Answer:
        failed = [{"Id": one["Id"], "SenderFault": is_fault, "Code": code} for one in question["Entries"]]
        return Answer(json.dumps({"Successful": [], "Failed": failed}).encode())

    return spoil


def _asked(moto: Moto, handler: BaseHTTPRequestHandler, question: bytes) -> Answer:
    line = http.client.HTTPConnection("127.0.0.1", moto.port, timeout=30)
    headers = {name: value for name, value in handler.headers.items() if name.lower() not in ("host", "content-length")}
    line.request("POST", handler.path, question, headers)
    answer = line.getresponse()
    body = answer.read()
    line.close()
    return Answer(body, answer.status)
