"""A connection that takes every job and keeps none."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from lamplighter.contracts import Application, Message
from lamplighter.queue.keepless import KeepsNoJobs
from lamplighter.support.options import parse_options


@dataclass(frozen=True, slots=True, kw_only=True)
class NullOptions:
    """The keys of a connection with `driver: "null"`."""

    driver: Literal["null"]


def connect(app: Application, name: str, options: Mapping[str, Any]) -> "NullQueue":
    """The connection of config/queue.py."""
    parse_options(NullOptions, options, where=f"config/queue.py (connections.{name})")
    return NullQueue(name)


class NullQueue(KeepsNoJobs):
    """For programs and tests that must not dispatch anything."""

    default_queue = "default"
    lacks = MappingProxyType({**KeepsNoJobs.lacks, "push": "It drops every job, and a retried one with them."})

    def __init__(self, connection: str) -> None:
        self.connection = connection

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Drop the message."""
