"""What answers as SQS does: moto's server, in a process of its own on loopback."""

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from lamplighter.queue.drivers.sqs.account import Access, Account
from lamplighter.queue.drivers.sqs.store import SqsStore
from tests.harness import free_ports, until_the_tests_end, wait_for

ACCOUNT = "123456789012"
Stores = Callable[..., SqsStore]


class Moto:
    """The server's process."""

    def __init__(self) -> None:
        self.port = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        program = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(
            until_the_tests_end(program), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._answers)
        self.client: Any = boto3.session.Session().client(
            "sqs",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def close(self) -> None:
        """End it."""
        self.client.close()
        self._process.kill()
        self._process.wait(10)

    def freeze(self, *, frozen: bool) -> None:
        """Let it answer nothing, or go on."""
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def queue(self, *, fifo: bool = False, name: str = "", **attributes: str) -> str:
        """A new queue's name."""
        name = name or f"test-{uuid.uuid4().hex}{'.fifo' if fifo else ''}"
        self.client.create_queue(QueueName=name, Attributes={**attributes, **({"FifoQueue": "true"} if fifo else {})})
        return name

    def address(self, queue: str) -> str:
        """Its address."""
        return f"{self.url}/{ACCOUNT}/{queue}"

    def store(self, seconds: int = 30, *, block_for: int = 0, prefix: bool = True, suffix: str = "") -> SqsStore:
        """One worker's store; the server is known by the prefix, as in Laravel, or by the endpoint."""
        access = Access(
            region="us-east-1",
            key="test",
            secret="test",
            prefix=f"{self.url}/{ACCOUNT}" if prefix else "",
            endpoint="" if prefix else self.url,
            suffix=suffix,
        )
        return SqsStore(Account(access), seconds=seconds, block_for=block_for)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def look_for_moto() -> None:
    """Fail, or skip, without the library."""
    if find_spec("moto") is None or find_spec("flask") is None:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised moto's server, and it is not installed")
        pytest.skip("no moto: install moto[server]")
