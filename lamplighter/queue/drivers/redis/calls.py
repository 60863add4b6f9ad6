"""Calls of scripts, by connections that this process keeps."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError

from lamplighter.queue.drivers.redis.connect import Server
from lamplighter.queue.drivers.redis.errors import ERRORS, translate
from lamplighter.queue.drivers.redis.line import Line, Words
from lamplighter.queue.drivers.redis.scripts import Script
from lamplighter.support.forking import watch
from lamplighter.support.immortal import keep_for_ever
from lamplighter.support.made_once import MadeOnce

SCANNED = 500  # names that one call looks at
LITERAL = re.compile(rb"[*?\[\]\\^-]")  # what means something in a pattern
ALONE = 32  # calls in a row of one thread, until it may look for answers


class Calls:
    """What a store asks of a server; each process makes connections of its own.

    The client's own methods take two thirds of the time that a call needs here, so that connections are used directly.
    That does not go in a Cluster, whose client finds the node of a key.

    Attributes:
        looks: answers are looked for where that is faster, see `Looking`. It is not where jobs run beside each other
            in threads of this process.

    Raises, by each method:
        Unavailable: the server does not answer, or takes nothing for now.
        QueueError: it refuses.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.looks = True
        self._thread, self._in_a_row = 0, 0
        self._client: MadeOnce[Any] = MadeOnce(server.client)
        if not server.nodes:  # a Cluster's client connects at once
            self._client.get()
        self._own: Line | None = None
        # The pool takes a third of the time of a push to lend a connection, and to take it back.
        self._idle: list[Line] = []
        watch(self, in_child=Calls._begin_as_child)

    def run(self, script: Script, keys: Sequence[bytes], values: Words) -> Any:
        """Run a script, from any thread."""
        try:
            if self.server.nodes:
                return self._run_in_cluster(script, keys, values)
            line = self._take_idle() or Line(self._client.get().connection_pool.get_connection())
            try:
                answer = line.run(script, keys, values, looks=self._is_alone() and self.looks)
            except BaseException:
                line.give_back(self._client.get().connection_pool)
                raise
        except ERRORS as error:
            raise translate(error, self.server.address) from error
        self._idle.append(line)
        return answer

    def run_often(self, script: Script, keys: Sequence[bytes], values: Words) -> Any:
        """The same, from one thread at a time, by a connection that is for these calls alone."""
        if self.server.nodes:
            return self.run(script, keys, values)
        line, self._own = self._own, None  # whoever closes meanwhile leaves it alone
        try:
            if line is None:
                line = self._take_idle() or Line(self._client.get().connection_pool.get_connection())
            try:
                answer = line.run(script, keys, values, looks=self.looks)
            except BaseException:
                line.give_back(self._client.get().connection_pool)  # by itself it would not ask the Sentinels again
                raise
        except ERRORS as error:
            raise translate(error, self.server.address) from error
        self._own = line
        return answer

    def wait(self, names: Mapping[bytes, str], seconds: float) -> str | None:
        """Wait until one of these lists has an element, and take it; the name of the list."""
        try:
            found = self._client.get().blpop(list(names), timeout=seconds)
        except ERRORS as error:
            raise translate(error, self.server.address) from error
        return None if found is None else names[found[0]]

    def sorted_sets(self, start: bytes, end: bytes) -> set[bytes]:
        """The names of sorted sets that begin and end so; all names are gone through, some hundreds in one call."""
        pattern = LITERAL.sub(rb"\\\g<0>", start) + b"*" + LITERAL.sub(rb"\\\g<0>", end)
        try:
            return set(self._client.get().scan_iter(match=pattern, count=SCANNED, _type="zset"))
        except ERRORS as error:
            raise translate(error, self.server.address) from error

    def quick(self, seconds: float) -> "Calls":
        """The same server, by connections that give it up after so many seconds."""
        options = replace(self.server.options, timeout=seconds, read_timeout=seconds)
        return Calls(replace(self.server, options=options))

    def close(self) -> None:
        """Let go of the connections, but for those that other threads are using; they are made anew when needed."""
        own, self._own = self._own, None
        idle, self._idle = self._idle, []
        for line in [*idle, *([] if own is None else [own])]:
            line.connection.disconnect()
            line.give_back(self._client.get().connection_pool)
        client: Any = self._client.known()
        is_cluster = isinstance(client, RedisCluster)
        nodes = [node.redis_connection for node in client.get_nodes()] if is_cluster else [client]
        for node in nodes:
            if node is not None:
                node.connection_pool.disconnect(inuse_connections=False)

    def _is_alone(self) -> bool:
        """Whether no other thread calls: a thread that looks takes time from the others. Four made half the pushes."""
        thread = threading.get_ident()
        if thread != self._thread:
            self._thread, self._in_a_row = thread, 0
        self._in_a_row += 1
        return self._in_a_row > ALONE

    def _take_idle(self) -> Line | None:
        """A connection that `run` has kept, and the server has not closed meanwhile; None without any."""
        try:
            line = self._idle.pop()
        except IndexError:
            return None
        if line.is_quiet():
            return line
        line.give_back(self._client.get().connection_pool)  # looks at it when it lends it
        return None

    def _run_in_cluster(self, script: Script, keys: Sequence[bytes], values: Words) -> Any:
        client = self._client.get()
        try:
            return client.evalsha(script.digest, len(keys), *keys, *values)
        except NoScriptError:
            return client.eval(script.text, len(keys), *keys, *values)

    def _begin_as_child(self) -> None:
        """The connections are the parent's."""
        keep_for_ever(self._own, *self._idle)
        self._own = None
        self._idle = []
