"""Servers that stop, are killed, freeze, refuse, fail over, or are many."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.errors import ConfigError, QueueError, Unavailable
from lamplighter.queue.drivers.leasing.store import Ended, How, Taken
from lamplighter.queue.drivers.redis import store as module
from lamplighter.queue.drivers.redis.connect import Server, ServerOptions
from lamplighter.queue.drivers.redis.store import RedisOptions, RedisStore
from tests.harness import free_ports, until_the_tests_end, wait_for
from tests.lamplighter.queue.drivers.redis.servers import Cut, OwnRedis, program, server_of

pytestmark = [pytest.mark.redis, pytest.mark.slow]


def job(number: int) -> bytes:
    """A payload."""
    return b'{"job":"probe","data":{"n":%d},"attempts":0}' % number


def store_of(server: OwnRedis, **settings: Any) -> RedisStore:
    """A store of a server."""
    return RedisStore(server_of(server.client(), "t-", **settings), RedisOptions(driver="redis"))


def tell(server: OwnRedis, *words: str | int) -> object:
    """Have a server do something for which the client has no method with types."""
    return server.client().execute_command(*words)  # type: ignore[no-untyped-call]


def take(store: RedisStore, names: tuple[str, ...] = ("default",), ended: tuple[Ended, ...] = ()) -> Taken:
    """Ask until there is an answer."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(Unavailable):
            return store.take(names, 1, ended)
        time.sleep(0.02)
    raise AssertionError("no answer within 30 s")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_server_with_a_log_that_ends_and_comes_back_loses_nothing(own_redis: OwnRedis, number: int) -> None:
    store = store_of(own_redis)
    store.push("default", [Message(job(n)) for n in range(3)], 0)
    store.push("default", [Message(job(9))], 60)
    [done] = store.take(["default"], 1, []).leases
    [held] = store.take(["default"], 1, [Ended(done, How.DELETED)]).leases

    own_redis.signal(number)
    with pytest.raises(Unavailable, match="does not answer"):
        store.take(["default"], 1, [])
    with pytest.raises(Unavailable):
        store.push("default", [Message(job(4))], 0)
    with pytest.raises(Unavailable):
        store.renew([held])
    with pytest.raises(Unavailable):
        store.wait(["default"], 0.1)
    own_redis.start()

    assert store.renew([held]) == []
    sizes = store.sizes("default")
    assert (sizes.pending, sizes.delayed, sizes.reserved) == (1, 1, 1)
    [lease] = take(store, ended=(Ended(held, How.DELETED),)).leases
    assert lease.payload == job(2)


def test_a_server_that_freezes_is_given_up_in_time_and_nothing_it_does_later_is_lost(own_redis: OwnRedis) -> None:
    store = store_of(own_redis, timeout=0.3, read_timeout=0.3)
    store.push("default", [Message(job(1))], 0)
    own_redis.signal(signal.SIGSTOP)
    began = time.monotonic()

    with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
        store.take(["default"], 1, [])

    assert time.monotonic() - began < 3
    own_redis.signal(signal.SIGCONT)
    [lease] = take(store).leases
    assert lease.payload == job(1)


def test_a_server_that_is_full_is_worked_empty_and_takes_nothing(own_redis: OwnRedis) -> None:
    store, client = store_of(own_redis), own_redis.client()
    store.push("default", [Message(job(n)) for n in range(20)], 0)
    store.push("default", [Message(job(20))], 0.01)
    leases = list(store.take(["default"], 1, []).leases)
    client.config_set("maxmemory", 1)

    with pytest.raises(Unavailable, match="maxmemory-policy"):
        store.push("default", [Message(job(99))], 0)
    with pytest.raises(Unavailable, match="maxmemory-policy"):
        store.push("default", [Message(job(99))], 10)
    numbers = []
    hows = [How.RELEASED, How.GIVEN_BACK, How.EXCUSED] + [How.DELETED] * 40
    for how in hows:
        if not leases:
            break
        assert store.renew(leases) == []
        [lease] = leases
        numbers += [json.loads(lease.payload)["data"]["n"]] if how is How.DELETED else []
        leases = list(store.take(["default"], 1, [Ended(lease, how)]).leases)

    assert sorted(numbers) == list(range(21))


@pytest.mark.parametrize("most", [1, 3])
def test_a_worker_goes_on_whose_answer_was_lost_when_its_server_was_full(own_redis: OwnRedis, most: int) -> None:
    line = Cut(own_redis.port)
    store, far_store, client = store_of(own_redis), store_of(own_redis, port=line.port), own_redis.client()
    store.push("default", [Message(job(n)) for n in range(5)], 0)
    begun = [Ended(lease, How.RELEASED) for lease in far_store.take(["default"], 1, []).leases]
    line.is_last = lambda answer: line.cuts < 1 and b"probe" in answer
    with pytest.raises(Unavailable, match="does not answer"):
        far_store.take(["default"], most, begun)
    client.config_set("maxmemory", 1)

    taken = far_store.take(["default"], most, begun)

    assert [lease.payload for lease in taken.leases] == [job(n) for n in range(1, most + 1)]
    assert far_store.renew(taken.leases) == []
    line.end()


def test_a_push_does_not_meet_the_connection_that_the_server_has_closed(own_redis: OwnRedis) -> None:
    store = store_of(own_redis)
    store.push("default", [Message(job(1))], 0)
    tell(own_redis, "CLIENT", "KILL", "TYPE", "normal")

    store.push("default", [Message(job(2))], 0)

    assert store.sizes("default").pending == 2
    store.close()


def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(own_redis: OwnRedis) -> None:
    store = store_of(own_redis)
    store.push("default", [Message(job(1))], 0)
    own_redis.client().script_flush()

    store.push("default", [Message(job(2))], 0)

    assert len(store.take(["default"], 2, []).leases) == 2


def refuse_all_writes(client: "redis.Redis") -> None:
    """Be a replica, of nobody."""
    client.replicaof("127.0.0.1", 1)


def ask_for_replicas(client: "redis.Redis") -> None:
    """Take nothing that no replica has."""
    client.config_set("min-replicas-to-write", 1)


@pytest.mark.parametrize(("refuse", "says"), [(refuse_all_writes, "replica"), (ask_for_replicas, "min-replicas")])
def test_a_server_that_takes_nothing_for_now_is_asked_again(own_redis: OwnRedis, refuse: Any, says: str) -> None:
    store = store_of(own_redis)
    store.push("default", [Message(job(1))], 0)
    refuse(own_redis.client())

    with pytest.raises(Unavailable, match=says):
        store.push("default", [Message(job(2))], 0)
    with pytest.raises(Unavailable, match=says):
        store.take(["default"], 1, [])


def test_a_server_that_is_busy_with_a_script_is_asked_again(own_redis: OwnRedis) -> None:
    client = own_redis.client()
    client.config_set("lua-time-limit", 50)
    store = store_of(own_redis, read_timeout=2)
    store.push("default", [Message(job(1))], 0)
    endless = threading.Thread(target=lambda: _quietly(own_redis.client(), "while true do end"))
    endless.start()

    try:
        wait_for(lambda: "BUSY" in _refusal(store) or "busy" in _refusal(store), what="BUSY")
    finally:
        client.script_kill()
        endless.join(10)

    assert len(take(store).leases) == 1


def _quietly(client: "redis.Redis", script: str) -> None:
    with suppress(redis.RedisError):
        client.eval(script, 0)


def _refusal(store: RedisStore) -> str:
    try:
        store.sizes("default")
    except Unavailable as error:
        return str(error)
    return ""


def test_a_wrong_password_says_so_and_shows_none(own_redis: OwnRedis) -> None:
    own_redis.client().config_set("requirepass", "right-secret")
    store = store_of(own_redis, password="wrong-secret")

    with pytest.raises(QueueError, match="password") as caught:
        store.push("default", [Message(job(1))], 0)

    assert not isinstance(caught.value, Unavailable)
    assert "secret" not in str(caught.value)


def test_a_user_that_may_not_run_scripts_is_told_what_it_needs(own_redis: OwnRedis) -> None:
    tell(own_redis, "ACL", "SETUSER", "reader", "on", ">pass", "~*", "+get", "+ping")
    store = store_of(own_redis, username="reader", password="pass")

    with pytest.raises(QueueError, match="EVALSHA and BLPOP"):
        store.take(["default"], 1, [])


@pytest.mark.parametrize("key", ["", ":delayed", ":reserved", ":notify"])
def test_a_key_that_is_no_queue_s_costs_no_job(own_redis: OwnRedis, key: str) -> None:
    store, client = store_of(own_redis), own_redis.client()
    kept = {f"t-queues:default{name}" for name in ("", ":delayed", ":reserved")} - {f"t-queues:default{key}"}
    for name in kept:
        if name == "t-queues:default":
            client.rpush(name, job(1))
        else:
            client.zadd(name, {job(2): 1})
    client.set(f"t-queues:default{key}", "something else")

    refusals = [*_refusals(lambda: store.take(["default"], 1, []))]
    refusals += _refusals(lambda: store.push("default", [Message(job(3))], 0))

    assert refusals
    assert all("REDIS_PREFIX" in str(error) and not isinstance(error, Unavailable) for error in refusals)
    jobs = [one for name in kept | {"t-queues:default"} if name in kept for one in _members(client, name)]
    assert len([one for one in jobs if b'"n":3' not in one]) == len(kept)


def _refusals(act: Callable[[], object]) -> list[QueueError]:
    try:
        act()
    except QueueError as error:
        return [error]
    return []


def _members(client: "redis.Redis", key: str) -> list[bytes]:
    members: Any = client.lrange(key, 0, -1) if client.type(key) == b"list" else client.zrange(key, 0, -1)
    return list(members)


# TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[OwnRedis, int, Path]]:
    """A server with a certificate of its own making: the server, its port of TLS, the certificate."""
    key, certificate, port = tmp_path / "key.pem", tmp_path / "cert.pem", free_ports(2)
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    options = ["--tls-port", str(port + 1), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    options += ["--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"]
    server = OwnRedis(tmp_path / "redis", *options, port=port)
    yield server, port + 1, certificate
    server.end()


@pytest.mark.parametrize("by", ["url", "scheme"])
def test_tls_wants_a_certificate_that_it_trusts(tls: tuple[OwnRedis, int, Path], by: str) -> None:
    server, port, certificate = tls
    address: dict[str, Any] = (
        {"url": f"rediss://127.0.0.1:{port}/0"} if by == "url" else {"scheme": "tls", "port": port}
    )

    with pytest.raises(Unavailable, match="certificate"):
        store_of(server, **address).push("default", [Message(job(1))], 0)
    store_of(server, **address, context={"cafile": str(certificate)}).push("default", [Message(job(1))], 0)
    unchecked = {"stream": {"verify_peer": False}}
    [lease] = store_of(server, **address, context=unchecked).take(["default"], 1, []).leases

    assert lease.payload == job(1)


def test_tls_is_given_up_in_time_and_its_answers_may_come_after_the_looks(tls: tuple[OwnRedis, int, Path]) -> None:
    server, port, certificate = tls
    context = {"cafile": str(certificate)}
    store = store_of(server, scheme="tls", port=port, context=context, timeout=1, read_timeout=0.3)
    for number in range(150):
        store.push("default", [Message(job(number))], 0)
    server.client().client_pause(100)
    for number in range(150):
        store.push("default", [Message(job(number))], 0)

    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        store.push("default", [Message(job(0))], 0)

    assert time.monotonic() - began < 3
    server.signal(signal.SIGCONT)
    assert store.sizes("default").pending == 300


# Sentinels ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sentinels_lead_to_the_next_master_and_what_it_has_goes_on(tmp_path: Path) -> None:
    with ExitStack() as ends:
        first = OwnRedis(tmp_path / "first", "--repl-diskless-sync-delay", "0")
        ends.callback(first.end)
        second = OwnRedis(tmp_path / "second", "--replicaof", "127.0.0.1", str(first.port))
        ends.callback(second.end)
        wait_for(lambda: b"ok" if second.client().info("replication")["master_link_status"] == "up" else b"")
        port = free_ports(1)
        settings = tmp_path / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nlogfile {tmp_path}/sentinel.log\n"
            f"sentinel monitor mine 127.0.0.1 {first.port} 1\nsentinel down-after-milliseconds mine 500\n"
            f"sentinel failover-timeout mine 2000\n"
        )
        sentinel = Sentinel(settings, port)
        ends.callback(sentinel.end)
        options = ServerOptions(sentinels=(f"127.0.0.1:{port}",), service="mine", timeout=1, read_timeout=1)
        store = RedisStore(Server(where="here", prefix="t-", options=options), RedisOptions(driver="redis"))
        store.push("default", [Message(job(1)), Message(job(2))], 0)
        [lease] = store.take(["default"], 1, []).leases
        wait_for(
            lambda: second.client().zcard("t-queues:default:reserved") == 1, what="a copy"
        )  # WAIT asks for its own

        first.signal(signal.SIGKILL)
        with pytest.raises(Unavailable):
            store.push("default", [Message(job(3))], 0)

        taken = take(store, ended=(Ended(lease, How.DELETED),))
        assert [one.payload for one in taken.leases] == [job(2)]
        assert store.sizes("default").reserved == 1
        assert second.client().info("replication")["role"] == "master"


class Sentinel(OwnRedis):
    """A Sentinel of a test's own."""

    def __init__(self, settings: Path, port: int) -> None:
        super().__init__(settings.parent, str(settings), port=port)

    def start(self) -> None:
        """Begin to watch."""
        command = until_the_tests_end([program(), *self._options, "--sentinel"])
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for(self._answers, what="a Sentinel")


# a Cluster ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisStore]:
    """A store on a Cluster of three masters."""
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
    port = free_ports(6)
    with ExitStack() as ends:
        nodes = []
        for number in range(3):
            between_nodes = ["--cluster-port", str(port + 3 + number)]
            nodes.append(OwnRedis(tmp_path / f"node-{number}", *options, *between_nodes, port=port + number))
            ends.callback(nodes[-1].end)
        yield from _store_of(nodes)


def _store_of(nodes: list[OwnRedis]) -> Iterator[RedisStore]:
    for number, node in enumerate(nodes):
        slots = range(16384 * number // 3, 16384 * (number + 1) // 3)
        tell(node, "CLUSTER ADDSLOTSRANGE", slots[0], slots[-1])
        tell(node, "CLUSTER MEET", "127.0.0.1", nodes[0].port, nodes[0].port + 3)
    wait_for(lambda: all(_has_come_together(node) for node in nodes), what="a Cluster")
    addresses = [ServerOptions(port=node.port) for node in nodes]
    server = Server(where="here", prefix="t-", options=addresses[0], nodes=addresses)
    store = RedisStore(server, RedisOptions(driver="redis"))
    yield store
    store.close()


def _has_come_together(node: OwnRedis) -> bool:
    state = str(tell(node, "CLUSTER INFO"))
    return "ok" in state.partition("cluster_state")[2][:12] and "3" in state.partition("cluster_known_nodes")[2][:10]


def test_in_a_cluster_what_is_due_is_looked_for_on_each_queue(
    cluster: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOVE_EVERY", 3600.0)
    cluster.push("{low}", [Message(job(number)) for number in range(10)], 0)
    cluster._calls._client.get().zadd(cluster._keys("{low}").delayed, {job(10): 1})

    cluster.take(["{high}", "{low}"], 1, [])

    assert cluster._calls._client.get().zcard(cluster._keys("{low}").delayed) == 0


def test_in_a_cluster_queues_are_taken_from_one_after_the_other(cluster: RedisStore) -> None:
    names = ["{high}", "{middle}", "{low}"]
    for number, name in enumerate(reversed(names)):
        cluster.push(name, [Message(job(number))], 0)
    ended: list[Ended] = []
    numbers = []

    for _ in names:
        [lease] = cluster.take(names, 5, ended).leases
        assert cluster.renew([lease]) == []
        numbers.append(json.loads(lease.payload)["data"]["n"])
        ended.append(Ended(lease, How.DELETED))

    assert cluster.take(names, 5, ended).leases == ()
    assert numbers == [2, 1, 0]
    assert [cluster.sizes(name).reserved for name in names] == [0, 0, 0]


def test_in_a_cluster_waits_delays_and_clear_work_too(cluster: RedisStore) -> None:
    threading.Timer(0.1, cluster.push, ["{high}", [Message(job(1))], 0]).start()

    assert cluster.wait(["{high}", "{low}"], 2)
    [lease] = cluster.take(["{high}", "{low}"], 1, []).leases
    taken = cluster.take(["{low}", "{high}"], 1, [Ended(lease, How.RELEASED, 30)])
    assert taken.leases == ()
    assert taken.next_due is not None
    assert 28 < taken.next_due <= 30
    [held] = cluster.held(10)
    assert (held.queue, cluster.cancel("no such id"), cluster.cancel(held.id)) == ("{high}", 0, 1)
    cluster.push("{high}", [Message(job(2))], 30)
    assert cluster.clear("{high}") == 1


def test_in_a_cluster_a_lost_answer_is_found_again(cluster: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["{high}", "{middle}", "{low}"]
    cluster.push("{middle}", [Message(job(1))], 0)
    run, lost = cluster._calls.run, 0

    def lose(*arguments: Any) -> Any:
        nonlocal lost
        answer = run(*arguments)
        if b"probe" in str(answer).encode() and not lost:
            lost += 1
            raise Unavailable("the answer was lost")
        return answer

    monkeypatch.setattr(cluster._calls, "run", lose)
    with pytest.raises(Unavailable):
        cluster.take(names, 1, [])
    cluster.push("{high}", [Message(job(2))], 0)

    [lease] = cluster.take(names, 1, []).leases

    assert lease.payload == job(1)


def test_in_a_cluster_a_name_without_braces_is_refused(cluster: RedisStore) -> None:
    with pytest.raises(QueueError, match=r"\{default\} instead of default"):
        cluster.push("default", [Message(job(1))], 0)


def test_an_address_that_is_none_shows_no_password() -> None:
    options = ServerOptions(url="nonsense://user:secret@host")

    with pytest.raises(ConfigError, match=r"redis\.default") as caught:
        RedisStore(
            Server(where="config/database.py (redis.default)", prefix="", options=options), RedisOptions(driver="redis")
        )

    assert "secret" not in str(caught.value)
