"""What a child has of its parent's store."""

import pytest
import redis

from tests import programs

pytestmark = pytest.mark.redis

PROGRAM = """
from lamplighter.contracts import Message
from lamplighter.queue.drivers.leasing.store import Ended, How
from lamplighter.queue.drivers.redis.connect import find_server
from lamplighter.queue.drivers.redis.store import RedisOptions, RedisStore

url, prefix = sys.argv[1:]
section = {"options": {"prefix": prefix}, "default": {"url": url}}
store = RedisStore(find_server(section, "default"), RedisOptions(driver="redis"))
store.push("default", [Message(b"%d" % n) for n in range(300)], 0)
[first] = store.take(["default"], 1, []).leases

def work(count, ended):
    seen = []
    for _ in range(count):
        [lease] = store.take(["default"], 1, ended).leases
        ended = [Ended(lease, How.DELETED)]
        store.push("seen", [Message(lease.payload)], 0)
    store.take((), 0, ended)

child = os.fork()
if not child:
    work(149, [])
    os._exit(0)
threading.Thread(target=store.wait, args=(["other"], 2)).start()
work(150, [Ended(first, How.DELETED)])
print(outcome(child), store.sizes("default").pending, store.sizes("default").reserved, store.sizes("seen").pending)
print(len({lease.payload for lease in store.take(["seen"], 1000, []).leases}))
"""


def test_parent_and_child_take_each_job_once(client: "redis.Redis", prefix: str) -> None:
    settings = client.connection_pool.connection_kwargs
    url = f"redis://{settings['host']}:{settings['port']}/{settings.get('db') or 0}"

    printed = programs.run(PROGRAM, url, prefix)

    assert printed.split() == ["0", "0", "0", "299", "299"]


PREFORKED = """
from lamplighter.contracts import Message
from lamplighter.queue.drivers.redis.connect import find_server
from lamplighter.queue.drivers.redis.store import RedisOptions, RedisStore

url, prefix = sys.argv[1:]
section = {"options": {"prefix": prefix}, "default": {"url": url}}
store = RedisStore(find_server(section, "default"), RedisOptions(driver="redis"))
store.push("default", [Message(b"0")], 0)

def serve():
    together, errors = threading.Barrier(8), []
    def push():
        together.wait(10)
        try:
            for n in range(5):
                store.push("default", [Message(b"%d" % n)], 0)
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=push) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    os._exit(len(errors))

for _ in range(5):
    child = os.fork()
    if not child:
        serve()
    print(outcome(child))
print(store.sizes("default").pending)
"""


def test_threads_of_a_child_that_push_first_at_the_same_moment_take_no_connection_away(
    client: "redis.Redis", prefix: str
) -> None:
    settings = client.connection_pool.connection_kwargs
    url = f"redis://{settings['host']}:{settings['port']}/{settings.get('db') or 0}"

    printed = programs.run(PREFORKED, url, prefix)

    assert printed.split() == ["0"] * 5 + ["201"]
