"""Jobs that run in processes of their own; here the processes are programs of a few lines."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import ConfigError, QueueError, SlotDied, Unavailable
from lamplighter.queue.drivers.background.connecting import connect
from lamplighter.queue.drivers.background.handed import Handed, decode
from lamplighter.queue.drivers.background.queue import BackgroundQueue, Program
from lamplighter.queue.drivers.background.slots import Slots
from lamplighter.queue.jobs.payload import write
from tests.programs import run

TELLS = """
import json, os, sys
given = sys.stdin.buffer.read().decode()
print("printed", flush=True)
told = {"arguments": sys.argv[1:], "given": given, "session": os.getsid(0) == os.getpid(), "folder": os.getcwd()}
with open("told.tmp", "w") as file:
    json.dump(told, file)
os.write(json.loads(given)["done"], b"1")
os.rename("told.tmp", "told")
"""
WAITS = """
import os, time
open(f"running-{os.getpid()}", "w").close()
while not os.path.exists("go"):
    time.sleep(0.005)
"""


class Deaths:
    """What a dispatcher writes down of processes that have died."""

    def __init__(self) -> None:
        self.gave_up: list[tuple[Any, BaseException]] = []

    def give_up(self, delivery: Any, error: BaseException) -> None:
        """Keep it."""
        delivery.is_recorded = True
        self.gave_up.append((delivery, error))


class Scene:
    """A connection in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deaths = Deaths()
        self.slots = Slots(folder / "slots", 1)

    def queue(self, program: str, *, wait: float = 0.0) -> BackgroundQueue:
        """The connection; its processes run this program."""
        (self.folder / "artisan.py").write_text(program)
        settings = Program(self.folder, self.folder / "logs/output.log", timeout=60, wait=wait)
        return BackgroundQueue("background", settings, self.slots, lambda: self.deaths)  # type: ignore[arg-type, return-value]


def until(is_so: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A connection with room for one process."""
    return Scene(tmp_path)


MESSAGE = Message(write("letter", {"to": "you"}, id="1"), b"k\xff", [("h", b"\x00"), ("n", None)])


def test_a_process_is_given_the_job_on_stdin_and_its_output_goes_into_a_file(scene: Scene) -> None:
    scene.queue(TELLS).push(MESSAGE, queue="letters", delay=60)

    told = json.loads(until(lambda: (scene.folder / "told").exists() and (scene.folder / "told").read_text()))
    handed = decode(told["given"].encode())
    assert (told["arguments"], told["session"], told["folder"]) == (["queue:background"], True, str(scene.folder))
    assert (handed.connection, handed.queue, handed.timeout) == ("background", "letters", 60)
    assert handed.message == Message(MESSAGE.payload, MESSAGE.key, tuple(MESSAGE.headers))
    assert (scene.folder / "logs/output.log").read_text() == "printed\n"
    assert scene.deaths.gave_up == []


def test_no_more_processes_run_than_may(scene: Scene) -> None:
    queue = scene.queue(WAITS)
    queue.push(MESSAGE, queue="letters")
    until(lambda: list(scene.folder.glob("running-*")))

    with pytest.raises(Unavailable, match="1 background jobs run on this host, as many as may"):
        queue.push(MESSAGE, queue="letters")

    (scene.folder / "go").touch()
    scene.queue(TELLS, wait=20).push(MESSAGE, queue="letters")
    until(lambda: (scene.folder / "told").exists())


def test_a_process_that_is_killed_leaves_its_place_and_its_job_is_written_down(scene: Scene) -> None:
    queue = scene.queue(WAITS, wait=20)
    queue.push(MESSAGE, queue="letters")
    [running] = until(lambda: list(scene.folder.glob("running-*")))

    os.kill(int(running.name.partition("-")[2]), signal.SIGKILL)

    [(delivery, error)] = until(lambda: scene.deaths.gave_up)
    assert (delivery.payload, delivery.queue, delivery.position) == (MESSAGE.payload, "letters", "background")
    assert isinstance(error, SlotDied)
    assert str(error) == "The process of letter ended by SIGKILL before the job's end was written down."
    (scene.folder / "go").touch()
    queue.push(MESSAGE, queue="letters")


IGNORES = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
"""
REAPS = """
def reap():
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.001)

threading.Thread(target=reap, daemon=True).start()
"""
DISPATCHES = """
from pathlib import Path
from lamplighter.contracts import Message
from lamplighter.queue.dispatching.elsewhere import told_of_processes
from lamplighter.queue.drivers.background.queue import BackgroundQueue, Program
from lamplighter.queue.drivers.background.slots import Slots

class Deaths:
    def give_up(self, delivery, error):
        print(error, flush=True)
        delivery.is_recorded = True

folder = Path(sys.argv[1])
(folder / "artisan.py").write_text("import os\\nos._exit(0)")
program = Program(folder, None, timeout=60, wait=20)
queue = BackgroundQueue("background", program, Slots(folder / "slots", 1), Deaths)
with told_of_processes() as begun:
    queue.push(Message(b'{"job":"letter"}'), queue="letters")
    begun[0]()
    (folder / "artisan.py").write_text("import json, os, sys\\nos.write(json.load(sys.stdin)['done'], b'1')")
    queue.push(Message(b'{"job":"letter"}'), queue="letters")
print([wait() for wait in begun])
"""


@pytest.mark.parametrize("children", ["", IGNORES, REAPS])
def test_a_process_that_ends_before_its_word_has_died_whatever_status_is_seen(tmp_path: Path, children: str) -> None:
    """A job may end its process with 0; a program that reaps all children, or ignores them, hides how they end."""
    told = run(children + DISPATCHES, tmp_path)

    died, waited = told.splitlines()
    assert died.startswith("The process of letter ended with status 0, as far as can be seen, before")
    assert waited == "[None, None]"


def test_what_can_not_be_started_is_said_to_the_dispatcher(scene: Scene, tmp_path: Path) -> None:
    queue = scene.queue(TELLS)
    gone = Program(tmp_path / "gone", None, timeout=0, wait=0)
    queue._program = gone

    for _ in range(2):  # the place was given back
        with pytest.raises(Unavailable, match=r"can't be started in .*gone: No such file or directory"):
            queue.push(MESSAGE, queue="letters")


def test_a_folder_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(QueueError, match=r"The folder .*file/slots, where background jobs have their places"):
        Slots(tmp_path / "file/slots", 1).take(0)


def test_a_child_of_a_fork_keeps_no_place(tmp_path: Path) -> None:
    slots = Slots(tmp_path, 1)
    file = slots.take(0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reader, 1)
        os._exit(0)
    slots.let_go(file)

    slots.let_go(slots.take(20))

    os.write(writer, b"1")
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"processes": 0}, "takes 1 or more"),
        ({"wait": -1}, "a negative number of seconds"),
        ({"tries": 1}, "unknown key 'tries'"),
        ({}, r"starts processes of artisan.py, which is not in"),
    ],
)
def test_settings_that_can_not_be_are_refused(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    class Folder:
        """An application without an artisan.py."""

        base_path = tmp_path

        def path(self, *parts: str) -> Path:
            """A path in it."""
            return tmp_path.joinpath(*parts)

    with pytest.raises(ConfigError, match=told):
        connect(Folder(), "background", {"driver": "background", **options})  # type: ignore[arg-type]


def test_what_is_handed_over_may_be_any_bytes() -> None:
    handed = Handed("c", "q", b"\x00\xff", None, (("h", b"\xfe"),), 3, 4, 0.5)

    assert decode(handed.encode()) == handed
