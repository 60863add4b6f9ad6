"""Clients that each process makes once."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

from lamplighter.support.made_once import MadeOnce
from tests import programs


class Client:
    """One of a library."""


def test_threads_that_need_it_first_at_the_same_moment_get_the_same() -> None:
    together = threading.Barrier(4)

    def make() -> Client:
        together.wait(10)  # all four are making one
        return Client()

    client = MadeOnce(make)
    with ThreadPoolExecutor(4) as pool:
        got = [future.result(10) for future in [pool.submit(client.get) for _ in range(4)]]

    assert len(set(map(id, got))) == 1
    assert client.known() is got[0]


def test_another_one_is_made_after_the_first_was_forgotten() -> None:
    client = MadeOnce(Client)
    assert client.known() is None
    first = weakref.ref(client.get())

    client.forget()

    assert first() is None
    assert client.get() is client.get()


PROGRAM = """
from lamplighter.support.made_once import MadeOnce

class Client:
    def __del__(self):
        print("freed", os.getpid() == parent, flush=True)

parent = os.getpid()
client = MadeOnce(Client)
client.get()
child = os.fork()
if not child:
    is_own = client.known() is None and client.get() is client.get()
    os._exit(not is_own)
print(outcome(child))
"""


def test_a_child_makes_its_own_and_never_frees_the_parents() -> None:
    assert programs.run(PROGRAM).split() == ["0", "freed", "True"]
