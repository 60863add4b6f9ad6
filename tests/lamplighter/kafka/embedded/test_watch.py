"""When the embedded broker may end, in many orders of events, by a clock of the test's own."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lamplighter.kafka.embedded import watch as watch_module
from lamplighter.kafka.embedded.folder import BrokerFolder
from lamplighter.kafka.embedded.lock import is_held
from lamplighter.kafka.embedded.watch import Watch, describe
from tests.harness import wait_for

LINGER = 60.0
KEEP = 1000.0


class HeldBroker:
    """A broker in the watch's process, and the clock that it goes by."""

    address = "127.0.0.1:1"

    def __init__(self) -> None:
        self.now = 0.0
        self.count: dict[str, int] | Exception = {}
        self.has_clients = False
        self.after_count: Callable[[], object] = lambda: None

    def unread(self) -> dict[str, int]:
        """What is there; somebody may come at this very moment."""
        found, hook = self.count, self.after_count
        self.after_count = lambda: None
        hook()
        if isinstance(found, Exception):
            raise found
        return dict(found)

    def is_connected(self) -> bool:
        """Whether a client is connected."""
        return self.has_clients


class Scene:
    """One broker in a folder, with its watch."""

    def __init__(self, folder: Path, broker: HeldBroker | None = None, *, linger: float | None = LINGER) -> None:
        self.said: list[str] = []
        self.broker = broker or HeldBroker()
        self.folder = BrokerFolder(folder)
        assert self.folder.begin(self.broker.address)
        self.watch = Watch(
            self.folder, self.broker, linger=linger, keep=KEEP, now=lambda: self.broker.now, say=self.said.append
        )

    def after(self, seconds: float) -> str | None:
        """Let time pass, and look."""
        self.broker.now += seconds
        return self.watch.look()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A broker that nobody has used yet."""
    folder = tmp_path / "storage/framework"
    folder.mkdir(parents=True)
    scene = Scene(folder)
    yield scene
    scene.folder.withdraw()


def use(folder: Path) -> None:
    """Come and go, as a process does that is killed as soon as it has its answer."""
    user = BrokerFolder(folder)
    with user.alone(wait=1):
        lease = user.lease()
        assert user.running() is not None
    os.close(lease)


def test_a_use_between_two_looks_counts_for_the_whole_time(scene: Scene) -> None:
    scene.after(LINGER - 0.5)
    use(scene.folder.path)

    reasons = [scene.after(1), scene.after(LINGER - 1), scene.after(2)]

    assert reasons == [None, None, f"nobody has used it for {LINGER:g} s"]


def test_a_use_during_the_last_look_keeps_it(scene: Scene) -> None:
    scene.broker.after_count = lambda: use(scene.folder.path)

    reason = scene.after(LINGER + 1)

    assert reason is None
    assert scene.folder.running() is not None


def test_a_lease_that_is_held_keeps_it_however_long(scene: Scene) -> None:
    lease = scene.folder.lease()

    reasons = [scene.after(10 * KEEP) for _ in range(3)]
    os.close(lease)
    after = [scene.after(1), scene.after(LINGER + 1)]

    assert reasons == [None, None, None]
    assert after == [None, f"nobody has used it for {LINGER:g} s"]


def test_somebody_who_is_coming_is_waited_for(scene: Scene) -> None:
    with scene.folder.alone(wait=1):
        during = scene.after(LINGER + 1)

    assert during is None
    assert scene.after(0) is not None


def test_what_nobody_has_read_keeps_it_for_a_bounded_time_and_it_says_so_once(scene: Scene) -> None:
    scene.broker.count = {"store": 2, "dos.delay.60": 1}

    reasons = [scene.after(LINGER + 1), scene.after(KEEP / 2), scene.after(KEEP / 2)]

    assert reasons == [None, None, f"nobody has used it for {KEEP:g} s"]
    assert len(scene.said) == 1
    assert "It stays, with 3 records that nobody has read (dos.delay.60 1, store 2)." in scene.said[0]
    assert f"it ends {KEEP:g} s after its last use; `kill {os.getpid()}` ends it at once" in scene.said[0]


def test_what_is_read_does_not_keep_it(scene: Scene) -> None:
    scene.broker.count = {"store": 1}
    before = scene.after(LINGER + 1)
    scene.broker.count = {}

    assert (before, scene.after(1)) == (None, f"nobody has used it for {LINGER:g} s")


def test_what_can_not_be_counted_counts_as_unread(scene: Scene) -> None:
    scene.broker.count = OSError("no space left")

    reasons = [scene.after(LINGER + 1), scene.after(KEEP)]

    assert reasons == [None, f"nobody has used it for {KEEP:g} s"]
    assert "What nobody has read can't be counted: OSError('no space left')." in scene.said


def test_a_client_whose_lease_is_not_seen_keeps_it_by_its_connection(scene: Scene) -> None:
    scene.broker.has_clients = True
    reasons = [scene.after(LINGER + 1), scene.after(LINGER + 1)]
    scene.broker.has_clients = False

    assert reasons == [None, None]
    assert scene.after(LINGER + 1) is not None


def test_what_it_holds_is_written_down_for_whoever_comes_after_a_crash(scene: Scene) -> None:
    scene.broker.count = {"store": 2}
    scene.after(1)
    held = BrokerFolder(scene.folder.path).unread()
    scene.broker.count = {}
    scene.after(1)

    assert (held, BrokerFolder(scene.folder.path).unread()) == ({"store": 2}, {})


def test_a_file_that_was_deleted_is_written_anew(scene: Scene) -> None:
    (scene.folder.path / "embedded-broker.json").unlink()

    reasons = [scene.after(1), scene.after(1)]

    assert reasons == [None, None]
    assert scene.folder.is_published()
    assert "written anew" in scene.said[-1]


def test_a_folder_that_was_deleted_is_made_anew_where_the_project_is_still_there(scene: Scene) -> None:
    shutil.rmtree(scene.folder.path)

    reasons = [scene.after(1), scene.after(1)]

    assert reasons == [None, None]
    assert scene.folder.is_published()


def test_it_ends_with_its_project_and_puts_nothing_into_the_way(scene: Scene) -> None:
    project = scene.folder.path.parent.parent
    shutil.rmtree(project)

    reasons = [scene.after(1), scene.after(1)]

    assert reasons == ["its folder was deleted", "its folder was deleted"]
    assert not project.exists()


def successor_of(scene: Scene) -> BrokerFolder:
    """Another broker in its place, as where the whole `storage` was moved away and is made anew."""
    path = scene.folder.path
    path.parent.rename(path.parent.with_name("moved"))
    path.mkdir(parents=True)
    successor = BrokerFolder(path)
    assert successor.begin("127.0.0.1:2")
    return successor


def test_it_takes_no_place_of_a_successor_and_stays_for_what_nobody_has_read(scene: Scene) -> None:
    successor = successor_of(scene)
    scene.broker.count = {"store": 1}

    reasons = [scene.after(1), scene.after(LINGER + 1), scene.after(KEEP)]

    assert reasons == [None, None, "another has taken its place"]
    assert [text for text in scene.said if "It stays, with 1 record that nobody has read (store 1)" in text]
    assert successor.is_published()
    successor.withdraw()


def test_its_clients_read_on_where_a_successor_has_come(scene: Scene) -> None:
    successor = successor_of(scene)
    scene.broker.has_clients = True
    reasons = [scene.after(KEEP + 1), scene.after(KEEP + 1)]
    scene.broker.has_clients = False

    assert [*reasons, scene.after(1)] == [None, None, "another has taken its place"]
    successor.withdraw()


def test_a_stale_file_in_the_place_of_its_own_is_replaced(scene: Scene) -> None:
    file = scene.folder.path / "embedded-broker.json"
    file.unlink()
    file.write_text('{"pid": 4242, "address": "127.0.0.1:1"}')

    reasons = [scene.after(1), scene.after(1)]

    assert reasons == [None, None]
    assert scene.folder.is_published()


def test_it_writes_its_file_anew_while_somebody_waits_for_it(scene: Scene) -> None:
    (scene.folder.path / "embedded-broker.json").unlink()

    with BrokerFolder(scene.folder.path).alone(wait=1):
        reasons = [scene.after(1), scene.after(1)]

    assert reasons == [None, None]
    assert scene.folder.is_published()


def test_a_lock_that_was_deleted_is_taken_anew(scene: Scene) -> None:
    lock = scene.folder.path / "embedded-life.lock"
    lock.unlink()

    scene.after(1)

    assert is_held(lock)


def test_what_it_holds_is_written_down_anew_with_its_file(scene: Scene) -> None:
    scene.broker.count = {"store": 2}
    scene.after(1)
    shutil.rmtree(scene.folder.path)

    for _ in range(3):
        scene.after(1)

    assert BrokerFolder(scene.folder.path).unread() == {"store": 2}


def test_a_look_that_fails_ends_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fail() -> bool:
        failed.set()
        raise OSError("no space left")

    monkeypatch.setattr(watch_module, "LOOK", 0.02)
    monkeypatch.setattr(scene.folder, "take_leases", fail)
    ended = threading.Event()
    thread = threading.Thread(target=scene.watch.run, args=(ended,), daemon=True)
    thread.start()

    failed.wait(10)
    wait_for(lambda: scene.said, what="its word")
    lives = thread.is_alive()
    ended.set()
    thread.join(10)

    assert lives
    assert scene.said == ["It can't look for its users, and stays: OSError('no space left')."]


def test_a_log_that_can_not_be_written_ends_nothing(tmp_path: Path) -> None:
    def refuse(text: str) -> None:
        raise BrokenPipeError(text)

    broker = HeldBroker()
    broker.count = {"store": 1}
    folder = BrokerFolder(tmp_path)
    assert folder.begin(broker.address)
    watch = Watch(folder, broker, linger=LINGER, now=lambda: broker.now, say=refuse)
    broker.now = LINGER + 1

    assert watch.look() is None
    folder.withdraw()


def test_one_that_never_can_look_ends_at_last(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LOOK", 0.02)
    ended = threading.Event()
    reasons: list[str] = []
    with scene.folder.alone(wait=1):
        thread = threading.Thread(target=lambda: reasons.append(scene.watch.run(ended)), daemon=True)
        scene.broker.now = KEEP + 1
        thread.start()
        thread.join(10)

    assert reasons == [f"it could not look for its users for {KEEP:g} s, with nothing unread"]


def test_one_without_a_time_of_its_own_stays_until_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path, linger=None)
    scene.broker.count = {"store": 1}
    ended = threading.Event()

    reasons = [scene.after(10 * KEEP), scene.after(10 * KEEP)]
    ended.set()
    told = scene.watch.run(ended)

    assert reasons == [None, None]
    assert told == "it was told to, with 1 record that nobody has read (store 1)"
    assert scene.folder.running() is None
    lost = BrokerFolder(tmp_path).lost()
    assert lost is not None
    assert (lost.was_killed, lost.unread) == (False, {"store": 1})


def test_numbers_are_told_as_people_read_them() -> None:
    assert describe({"store": 1200, "api": 1}) == "1,201 records that nobody has read (api 1, store 1,200)"
    assert describe({"store": 1}) == "1 record that nobody has read (store 1)"
    assert describe({}) == "nothing unread"


class AnyOrder(RuleBasedStateMachine):
    """Users come, push, stay, go and are killed, a worker reads, and brokers look, in any order and at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._path = Path(tempfile.mkdtemp()) / "framework"
        self._path.mkdir()
        self._broker = HeldBroker()
        self._scene = Scene(self._path, self._broker)
        self._users: list[int] = []
        self._last_use = 0.0
        self._acknowledged = 0  # and not read
        self.has_ended = False

    def teardown(self) -> None:
        """Whoever is left goes; what is unused ends in the end."""
        for lease in self._users:
            os.close(lease)
        self._acknowledged = 0
        self._broker.count = {}
        reasons = [] if self.has_ended else [self._scene.after(LINGER / 2) for _ in range(7)]
        shutil.rmtree(self._path.parent)
        assert self.has_ended or any(reasons), "it stays for ever"

    @rule(pushes=st.integers(0, 2), stays=st.booleans())
    def come(self, pushes: int, stays: bool) -> None:
        """A process finds the broker or starts one, pushes, and stays or is killed."""
        user = BrokerFolder(self._path)
        with user.alone(wait=1):
            lease = user.lease()
            for _ in range(2 if user.running() is None and user.lives() else 0):
                self._scene.watch.look()  # whoever comes waits for the file
            if user.running() is None:
                assert self.has_ended, "a broker that lives is not found"
                self._scene = Scene(self._path, self._broker)
                self.has_ended, self._acknowledged = False, 0
        self._users.append(lease)
        self._push(pushes)
        if not stays:
            self.leave(-1)

    @precondition(lambda self: self._users)
    @rule(count=st.integers(1, 3))
    def push(self, count: int) -> None:
        """One that has stayed pushes more."""
        self._push(count)

    @precondition(lambda self: self._users)
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        """One ends, in order or not."""
        os.close(self._users.pop(which % len(self._users)))
        self._last_use = self._broker.now

    @rule(seconds=st.sampled_from([0.001, 0.5, 1.0, LINGER - 0.5, LINGER, LINGER + 0.5, KEEP - 1, KEEP + 1]))
    def pass_time(self, seconds: float) -> None:
        """Nobody looks meanwhile, as where the broker's process was stopped."""
        self._broker.now += seconds

    @precondition(lambda self: not self.has_ended)
    @rule(
        what=st.sampled_from(["embedded-broker.json", "embedded-life.lock", "*.lock", "*.json"]), is_stale=st.booleans()
    )
    def delete(self, what: str, is_stale: bool) -> None:
        """Somebody deletes files of the broker, or puts an old one back."""
        for path in self._path.glob(what):
            path.unlink()
        file = self._path / "embedded-broker.json"
        if is_stale and not file.exists():
            file.write_text('{"pid": 4242, "address": "127.0.0.1:1"}')

    @rule()
    def read(self) -> None:
        """A worker reads all there is."""
        self._acknowledged = 0
        self._broker.count = {}

    @precondition(lambda self: not self.has_ended)
    @rule(after=st.sampled_from([0.0, 1.0, LINGER + 0.5]), comes=st.booleans(), pushes=st.integers(0, 1))
    def look(self, after: float, comes: bool, pushes: int) -> None:
        """The broker looks; maybe somebody comes and goes between its count and its lock."""
        self._broker.now += after
        if comes:
            self._broker.after_count = lambda: self.come(pushes, stays=False)
        reason = self._scene.watch.look()
        self._broker.after_count = lambda: None  # it counts nothing while its file is missing
        if reason is None:
            return
        self.has_ended = True
        unused = self._broker.now - self._last_use
        assert not self._users
        assert unused > (KEEP if self._acknowledged else LINGER)

    @invariant()
    def is_found(self) -> None:
        """Whoever comes sees that one lives, and only then; it may have to wait for its file."""
        folder = BrokerFolder(self._path)
        assert folder.lives() == (not self.has_ended)
        assert folder.running() is None or not self.has_ended

    def _push(self, count: int) -> None:
        assert not self.has_ended
        self._acknowledged += count
        if self._acknowledged:
            self._broker.count = {"store": self._acknowledged}
        self._last_use = self._broker.now


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
