"""A producer: dispatches jobs through the framework, and writes down, surely, which of them were acknowledged."""

import importlib
import json
import os
import random
import sys
import time
from pathlib import Path

from lamplighter.errors import Unavailable
from lamplighter.foundation.shortcuts import dispatch


def main() -> None:
    """Dispatch `count` jobs from `first` on, over `lanes` keys and a range of `delays`, at most `rate` a second."""
    order = json.loads(sys.argv[1])
    sys.path.insert(0, str(Path.cwd()))  # the test's own project
    importlib.import_module("bootstrap.app").create_app().bootstrap()
    probes = importlib.import_module("app.Jobs.probe")
    job = probes.AsyncProbe if order["is_async"] else probes.Probe
    acknowledged = os.open(order["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    began = time.monotonic()
    chance = random.Random(order["first"])
    enough = Path(order["enough"])
    for place in range(order["count"]):
        if enough.exists():
            return
        n = order["first"] + place
        lane = f"lane-{n % order['lanes']}" if order["lanes"] else ""
        while True:
            try:
                delay = chance.uniform(*order["delays"]) if order["delays"] else 0
                dispatch(job(n=n, lane=lane, due=time.time() + delay, **order["data"]), delay=delay)
                break
            except Unavailable as error:
                sys.stderr.write(f"{n}: {error}\n")
                sys.stderr.flush()
        # Nobody may claim that a job was lost which the producer only believed to have sent.
        os.write(acknowledged, b"%d\n" % n)
        os.fsync(acknowledged)
        ahead = place / order["rate"] - (time.monotonic() - began) if order["rate"] else 0
        if ahead > 0:
            time.sleep(ahead)


main()
