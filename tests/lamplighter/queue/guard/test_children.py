"""Children that a job has forked, and the loops of their parent."""

import pytest

from tests.programs import run

LEAVES = """
import logging
from lamplighter.queue.guard.children import only_in_the_parent

logging.basicConfig(stream=sys.stdout, format="%(message)s")

def work(way):
    with only_in_the_parent():
        child = os.fork()
        if child:
            return outcome(child)
        exec(way)

print(work(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("way", "code", "told"),
    [
        ("sys.exit(5)", 5, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('words')", 1, ""),
        ("sys.exit(type('Odd', (), {'__str__': lambda self: sys.exit(0)})())", 1, ""),
        ("raise type('Odd', (SystemExit,), {'code': property(lambda self: 1 / 0)})", 1, ""),
        ("raise type('Odd', (Exception,), {'__getattribute__': lambda *_: 1 / 0})", 1, "Odd was raised"),
        ("pass", 1, "a process that a job has forked came back from it; it ends, and settles nothing"),
        ("raise OSError('its own')", 1, "OSError: its own"),
        ("print('said', flush=False); sys.exit(0)", 0, "said"),
    ],
)
def test_a_child_that_comes_out_of_the_loop_ends(way: str, code: int, told: str) -> None:
    said = run(LEAVES, way)

    assert said.splitlines()[-1] == str(code)  # the parent's alone
    assert told in said


LOOPS = """
import asyncio
from contextvars import copy_context
from lamplighter.queue.worker.eventloop import KeptLoop

local = threading.local()

async def main():
    return await asyncio.wait_for(asyncio.to_thread(time.sleep, 0.05), 5)

def use():
    local.loop = getattr(local, "loop", None) or KeptLoop()
    local.loop.run(main(), context=copy_context())

def other():
    use()
    ready.set()
    go.wait()
    use()
    told.append("other")

ready, go, told = threading.Event(), threading.Event(), []
thread = threading.Thread(target=other)
thread.start()
ready.wait()
use()
child = os.fork()
if child == 0:
    sys.exit(0)
print(outcome(child))
go.set()
thread.join()
use()
print(told)
"""


def test_a_child_that_ends_leaves_the_event_loops_of_its_parent_alone() -> None:
    assert run(LOOPS) == "0\n['other']\n"


SYNC = """
from lamplighter.container import Container
from lamplighter.contracts import Message
from lamplighter.queue.drivers.sync import SyncQueue
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Runner
import asyncio, dataclasses

@dataclasses.dataclass(frozen=True)
class Waits(Job):
    name = "waits"
    async def handle(self) -> None:
        await asyncio.wait_for(asyncio.to_thread(time.sleep, 0.05), 5)

container = Container()
registry = Registry(container)
registry.register(Waits)
queue = SyncQueue("sync", Runner(registry, container, Policy(tries=1, backoff=(), timeout=0)))
message = Message(write("waits", {}, id="1"), None)
queue.push(message, queue="x")
child = os.fork()
if child == 0:
    queue.push(message, queue="x")  # in a loop of its own
    sys.exit(0)
print(outcome(child))
queue.push(message, queue="x")
print("parent")
"""


def test_a_child_runs_async_jobs_in_a_loop_of_its_own() -> None:
    assert run(SYNC) == "0\nparent\n"
