"""A program that dispatches the orders of a round, and writes down which of them were acknowledged."""

import importlib
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lamplighter import Dispatcher, dispatch
from lamplighter.errors import InvalidPayload, QueueError
from lamplighter.queue.dispatching.dispatcher import UNSET
from tests.faults.chaos.numbering import words_of
from tests.faults.noting import note
from tests.raw import send_raw

TOPICS = os.environ["CHAOS_TOPICS"].split(",")
BROKERS = os.environ["KAFKA_BROKERS"]
TOGETHER = 20  # jobs of one push_many at most
AGAIN = 0.2  # seconds until what was refused is dispatched once more

Told = dict[str, Any]


class Dispatching:
    """Dispatches each order as it says, until the brokers have it."""

    def __init__(self, dispatcher: Dispatcher, jobs: Any, partitions: int) -> None:
        self._dispatcher = dispatcher
        self._classes = {cls.name: cls for cls in (jobs.Chaos, jobs.AsyncChaos, jobs.RowChaos, jobs.ManyChaos)}
        self._does, self._child = jobs.Does, jobs.Child
        self._partitions = partitions

    def __call__(self, orders: Sequence[Told]) -> None:
        """Some that are dispatched together; most often it is one."""
        way: Callable[[Sequence[Told]], list[str]] = getattr(self, f"_{orders[0]['way']}")
        while True:
            for order in orders:
                note("dispatching", n=order["n"])
            try:
                ids = way(orders)
                break
            except InvalidPayload:
                raise
            except (QueueError, AssertionError) as error:
                for order in orders:
                    note("refused", n=order["n"], error=type(error).__name__, text=str(error)[:300])
                time.sleep(AGAIN)
        for order, id in zip(orders, ids, strict=True):
            note("acknowledged", n=order["n"], id=id)

    def _dispatch(self, orders: Sequence[Told]) -> list[str]:
        [order] = orders
        job = self._classes[order["job"]](**self._fields(order))
        for policy in ("tries", "backoff", "timeout"):
            if order[policy] is not None:
                setattr(job, policy, order[policy])
        return [dispatch(job, queue=TOPICS[order["topic"]], delay=order["delay"])]

    def _push(self, orders: Sequence[Told]) -> list[str]:
        [order] = orders
        key, queue = order["lane"] or UNSET, TOPICS[order["topic"]]
        return [self._dispatcher.push(order["job"], self._data(order), queue=queue, key=key, delay=order["delay"])]

    def _many(self, orders: Sequence[Told]) -> list[str]:
        jobs = [(order["job"], self._data(order), order["lane"] or UNSET) for order in orders]
        self._dispatcher.push_many(jobs, queue=TOPICS[orders[0]["topic"]])
        return [""] * len(orders)

    def _raw(self, orders: Sequence[Told]) -> list[str]:
        [order] = orders
        raw = order["raw"]
        key, value = (None if raw[part] is None else bytes.fromhex(raw[part]) for part in ("key", "value"))
        headers = [(bytes.fromhex(n), None if text is None else bytes.fromhex(text)) for n, text in raw["headers"]]
        partition = order["n"] % self._partitions
        send_raw(BROKERS, TOPICS[order["topic"]], (key, value, headers), partition=partition)
        return [""]

    def _fields(self, order: Told) -> Told:
        said = words_of(order["n"], order["size"])
        children = [self._child(**child) for child in order["does"].get("children", ())]
        does = self._does(**{**order["does"], "children": children})
        return {"n": order["n"], "lane": order["lane"], "does": does, "said": said, "crc": zlib.crc32(said.encode())}

    def _data(self, order: Told) -> Told:
        return {**self._fields(order), "does": order["does"]}


def main(file: str, began: float, partitions: int) -> None:
    """Dispatch what the file says and the ledger does not have as acknowledged, each when its time has come."""
    sys.path.insert(0, str(Path.cwd()))  # the round's own project
    app = importlib.import_module("bootstrap.app").create_app().bootstrap()
    dispatching = Dispatching(app.make(Dispatcher), importlib.import_module("app.Jobs.chaos"), partitions)
    done = _acknowledged()
    orders = [order for order in json.loads(Path(file).read_text()) if order["n"] not in done]
    while orders:
        ahead = began + orders[0]["at"] - time.time()
        if ahead > 0:
            time.sleep(ahead)
        together = _together(orders)
        del orders[: len(together)]
        dispatching(together)


def _together(orders: Sequence[Told]) -> list[Told]:
    """The first order, with those behind it that are pushed in one call with it."""
    first = orders[0]
    if first["way"] != "many":
        return [first]
    found = [first]
    for order in orders[1:TOGETHER]:
        if (order["way"], order["topic"]) != ("many", first["topic"]) or order["at"] > first["at"] + 0.5:
            break
        found.append(order)
    return found


def _acknowledged() -> set[int]:
    ledger = Path(os.environ["LEDGER"])
    lines = map(json.loads, ledger.read_text().splitlines()) if ledger.exists() else ()
    return {line["n"] for line in lines if line["event"] == "acknowledged"}


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
