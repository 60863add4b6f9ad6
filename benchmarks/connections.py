"""The connections with leases, each beside a bare loop and peers on the same store."""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from benchmarks.bench import Bench
from benchmarks.counting_proxy import CountingProxy
from benchmarks.peers import VENV, await_jobs, install_peers
from benchmarks.process import Process
from benchmarks.report import NotMeasured, Row, ratio, spread
from benchmarks.stamps import COUNT
from benchmarks.stores import STORES, Peer, Running, Store

DRAIN = ("--stop-when-empty", "--sleep=1", "-q")
SLOTS = ("--pool=thread", "-c16")
NOOPS = 20_000
WAITS = 10_000
SINGLES = 2_000  # of the waits are dispatched one by one
IDLE = 10.0  # seconds that an idle worker is watched
PATIENCE = 120.0
WHAT = {
    "noops": "four-field jobs/s",
    "waits": "1 ms jobs/s, 16 slots",
    "singles": "enqueued/s, one by one",
    "bulk": "enqueued/s, in bulk",
}


def connections(bench: Bench, *, jobs: int, runs: int, only: Sequence[str] = ()) -> list[Row]:
    """Jobs a second, enqueued jobs a second and the cost of an idle worker, on each store."""
    reason = install_peers()
    rows: list[Row] = []
    for store in STORES:
        if only and store.name.lower() not in only:
            continue
        try:
            with store.start(bench.folder) as running:
                rows += OnStore(bench, store, running, min(jobs, NOOPS), reason).measure(runs)
        except NotMeasured as error:
            rows.append(Row(store.name, f"not measured: {error}"))
    return rows


@dataclass
class OnStore:
    """The measurements on one store; `rates` are by what is measured, then by whose it is."""

    bench: Bench
    store: Store
    running: Running
    jobs: int
    reason: str
    rates: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {what: {} for what in WHAT})
    failed: dict[str, str] = field(default_factory=dict)

    def measure(self, runs: int) -> list[Row]:
        """Ours and the others in turn."""
        if self.store.has_table:
            self.bench.artisan("noop", "migrate", "--force", **self._environment())
        for peer in self.store.peers:
            if not (VENV / "bin" / peer.program).exists():
                self.failed[peer.name] = f"left out: {self.reason or 'it is not installed'}"
            elif peer.prepare:
                self._theirs(peer, "bench", peer.program, *peer.prepare).wait(PATIENCE)
        for _ in range(runs):
            self._ours_once()
            for peer in self.store.peers:
                if peer.name not in self.failed:
                    try:
                        self._theirs_once(peer)
                    except NotMeasured as error:
                        self.failed[peer.name] = f"not measured: {error}"
        return [self._loop_row(), *(self._row(what, peer) for what in WHAT for peer in self.store.peers), self._idle()]

    # one round ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ours_once(self) -> None:
        queue = self._new_queue()
        self._note("bulk", "ours", self._enqueue("bulk", "bench.four", queue, self.jobs))
        self._note("noops", "ours", self._work(queue, self.jobs, *DRAIN))
        queue = self._new_queue()
        self._enqueue("bulk", "bench.four", queue, self.jobs)
        self._note("noops", "bare", self._bare(queue))
        queue, singles, waits = self._new_queue(), min(self.jobs, SINGLES), min(self.jobs, WAITS)
        self._note("singles", "ours", self._enqueue("single", "bench.four_wait", queue, singles))
        self._enqueue("bulk", "bench.four_wait", queue, waits - singles)
        self._note("waits", "ours", self._work(queue, waits, *DRAIN, *SLOTS))

    def _theirs_once(self, peer: Peer) -> None:
        queue = self._new_queue()
        self._note("singles", peer.name, self._enqueue_theirs(peer, "four", queue))
        self._note("noops", peer.name, self._drain(peer, peer.noops, queue))
        queue = self._new_queue()
        self._note("bulk", peer.name, self._enqueue_theirs(peer, "four_wait", queue, is_bulk=peer.has_bulk))
        self._note("waits", peer.name, self._drain(peer, peer.slots, queue))

    def _note(self, what: str, whose: str, rate: float) -> None:
        self.rates[what].setdefault(whose, []).append(rate)
        self.bench.record("connections", store=self.store.name, what=what, whose=whose, rate=rate)

    # ours ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _enqueue(self, how: str, job: str, queue: str, count: int) -> float:
        arguments = (how, job, self.store.connection, queue, str(count))
        environment = self._environment()
        process = self.bench.program("noop", "benchmarks.enqueueing", *arguments, topic=queue, **environment)
        return count / _seconds(process)

    def _work(self, queue: str, jobs: int, *options: str) -> float:
        self.bench.stamps.clear()
        self._worker(queue, *options).wait(PATIENCE)
        return self._rate(jobs)

    def _worker(self, queue: str, *options: str, port: int = 0) -> Process:
        environment = self._environment(port)
        return self.bench.worker(
            queue, queue, f"--queue={queue}", *options, connection=self.store.connection, **environment
        )

    def _bare(self, queue: str) -> float:
        self.bench.stamps.clear()
        arguments = (self.store.loop, self.running.address, queue, str(self.jobs))
        self.bench.python("-m", "benchmarks.bare_stores", *arguments, topic=queue, **self._environment()).wait(PATIENCE)
        return self._rate(self.jobs)

    def _rate(self, jobs: int) -> float:
        if self.bench.stamps.get(COUNT) != jobs:
            raise NotMeasured(f"{self.bench.stamps.get(COUNT):,.0f} of {jobs:,} jobs ran")
        return self.bench.stamps.rate()

    def _environment(self, port: int = 0) -> dict[str, str]:
        return dict(self.running.environment(port or self.running.port))

    def _new_queue(self) -> str:
        return f"bench-{uuid.uuid4().hex[:6]}"

    # theirs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _enqueue_theirs(self, peer: Peer, job: str, queue: str, *, is_bulk: bool = False) -> float:
        more = {"BENCH_JOB": job, "BENCH_BULK": str(int(is_bulk))}
        return peer.jobs / _seconds(self._theirs(peer, queue, "python", "-m", peer.module, **more))

    def _drain(self, peer: Peer, arguments: Sequence[str], queue: str) -> float:
        self.bench.stamps.clear()
        process = self._theirs(peer, queue, peer.program, *arguments)
        try:
            await_jobs(self.bench, peer.jobs, process)
        finally:
            process.stop(10)
        return self.bench.stamps.rate()

    def _theirs(self, peer: Peer, queue: str, program: str, *arguments: str, **more: str) -> Process:
        # On SQLite a file of its own.
        address = self.running.address + ("" if self.running.port else "-theirs")
        environment = {
            **self.bench.environment(queue, queue),
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENCH_BROKER_URL": address,
            "BENCH_COUNT": str(peer.jobs),
            **more,
        }
        options = [part.format(address=address, queue=queue) for part in arguments]
        return Process(
            [VENV / "bin" / program, *options],
            self.bench.folder,
            environment,
            self.bench.folder / f"{peer.program}.log",
        )

    # rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _loop_row(self) -> Row:
        ours, bare = self.rates["noops"]["ours"], self.rates["noops"]["bare"]
        goal = f"; {self.store.limit}" if self.store.limit else ""
        what = f"{self.store.name}: four-field jobs/s, the bare loop"
        return Row(what, spread(ours), spread(bare), f"{ratio(ours, bare)} of the loop{goal}")

    def _row(self, what: str, peer: Peer) -> Row:
        title, comma, how = peer.name.partition(",")
        name = f"{self.store.name}: {WHAT[what]}, {title} {_version(peer)}{comma}{how}"
        ours, theirs = self.rates[what].get("ours", []), self.rates[what].get(peer.name, [])
        if not theirs:
            return Row(name, spread(ours), self.failed.get(peer.name, "not measured"))
        notes = [f"{ratio(ours[: len(theirs)], theirs)} times"]
        if what == "bulk" and not peer.has_bulk:
            notes.append("it has no call for many")
        if what == "waits" and peer.slots == peer.noops:
            notes.append("it has one slot in a process")
        if peer.note and what in ("noops", "waits"):
            notes.append(peer.note)
        return Row(name, spread(ours), spread(theirs), "; ".join(notes))

    def _idle(self) -> Row:
        """CPU and round trips of a worker that has nothing to do."""
        queue = self._new_queue()
        with CountingProxy(self.running.port) as proxy:
            worker = self._worker(queue, "-q", port=proxy.port if self.running.port else 0)
            try:
                time.sleep(3)  # it connects
                watched = psutil.Process(worker.pid)
                asked, used = proxy.round_trips, _cpu(watched)
                time.sleep(IDLE)
                asked, used = proxy.round_trips - asked, _cpu(watched) - used
            finally:
                worker.stop()
        self.bench.record("idle", store=self.store.name, round_trips=asked / IDLE, cpu=used / IDLE)
        trips = f"; {asked / IDLE:.1f} round trips a second, at most 2" if self.running.port else ""
        return Row(
            f"{self.store.name}: idle worker, CPU % of a core", f"{used / IDLE * 100:.2f}", "", f"at most 1{trips}"
        )


def _seconds(process: Process) -> float:
    process.wait(PATIENCE)
    lines = process.output.read_text().splitlines()
    try:
        return float(json.loads(lines[-1])["seconds"])
    except (LookupError, ValueError):
        raise NotMeasured(f"the program that enqueues has told no time: {lines[-3:]}") from None


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _version(peer: Peer) -> str:
    package = peer.module.rpartition("_")[2]
    found = sorted(VENV.glob(f"lib/*/site-packages/{package}-*.dist-info"))
    return found[0].name.removesuffix(".dist-info").partition("-")[2] if found else ""
