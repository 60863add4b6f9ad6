"""The connections of config/database.py under `redis`, as Laravel has them, and clients of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from lamplighter.errors import ConfigError
from lamplighter.support.options import parse_options

FILE = "config/database.py"
PATIENCE = 5.0  # seconds
AROUND = ("options", "clusters", "client")  # keys of the section that are no connections


@dataclass(frozen=True, slots=True, kw_only=True)
class General:
    """`redis.options`: what holds for all connections."""

    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """`context` of a connection: the files of TLS by PHP's names, and whether the server has to show one that fits."""

    cafile: str | None = None
    local_cert: str | None = None
    local_pk: str | None = None
    verify_peer: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """A connection. A URL wins over what it names; `timeout` is for connecting, both are seconds.

    With `sentinels`, `host:port` each, the server is the master that they know as `service`.
    """

    url: str | None = field(default=None, repr=False)
    scheme: Literal["tcp", "tls"] = "tcp"
    host: str = "127.0.0.1"
    port: int = 6379
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    prefix: str | None = None
    timeout: float = PATIENCE
    read_timeout: float = PATIENCE
    context: Mapping[str, Any] = field(default_factory=dict)
    sentinels: tuple[str, ...] = ()
    service: str = "mymaster"
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a connection leads: one server, or the nodes of a Cluster."""

    where: str
    prefix: str
    options: ServerOptions
    nodes: Sequence[ServerOptions] = ()

    @property
    def patience(self) -> float:
        """Seconds until a server that does not answer is given up."""
        return _bounded(self.options.read_timeout)

    @property
    def address(self) -> str:
        """What it is called in messages, without its password."""
        options = self.options
        if options.sentinels:
            return f"{options.service} of the Sentinels {', '.join(options.sentinels)}"
        if self.nodes:
            return "the Cluster of " + ", ".join(f"{node.host}:{node.port}" for node in self.nodes)
        if options.url:
            return options.url.rpartition("@")[2].rpartition("://")[2].partition("?")[0]
        return f"{options.host}:{options.port}"

    def client(self) -> "redis.Redis | RedisCluster":
        """A client, which connects when it is first used; that of a Cluster at once.

        Raises:
            ConfigError: the URL is no address of a Redis.
        """
        options = self.options
        settings = _settings(options)
        if self.nodes:
            settings.pop("db")
            nodes = [ClusterNode(node.host, node.port) for node in self.nodes]  # type: ignore[no-untyped-call]
            return RedisCluster(startup_nodes=nodes, **settings)
        if options.sentinels:
            of_sentinels = {**settings, "username": options.sentinel_username, "password": options.sentinel_password}
            of_sentinels.pop("db")
            addresses = [_address(one) for one in options.sentinels]
            sentinels = Sentinel(addresses, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call]
            master: redis.Redis = sentinels.master_for(options.service, **settings)  # type: ignore[no-untyped-call]
            return master
        if options.url:
            try:
                client = redis.Redis.from_url(options.url, **settings)
            except ValueError:
                # Its text may hold the password.
                raise ConfigError(
                    f"{self.where} has a url that is no address, such as redis://127.0.0.1:6379/0."
                ) from None
            client.connection_pool.connection_kwargs["decode_responses"] = False  # payloads are bytes, whatever it says
            return client
        if options.host.startswith("/"):
            return redis.Redis(unix_socket_path=options.host, **settings)
        return redis.Redis(host=options.host, port=options.port, **settings)


def find_server(section: Mapping[str, Any], name: str) -> Server:
    """The connection or the Cluster of this name, of the section `redis` in config/database.py.

    Raises:
        ConfigError: there is none, or a key of it is wrong.
    """
    general = parse_options(General, section.get("options") or {}, where=f"{FILE} (redis.options)")
    clusters = section.get("clusters") or {}
    where = f"{FILE} (redis.{name})"
    if name not in AROUND and isinstance(section.get(name), Mapping):
        options = parse_options(ServerOptions, section[name], where=where)
        return Server(where=where, prefix=_prefix(options, general), options=options)
    if name in clusters:
        where = f"{FILE} (redis.clusters.{name})"
        nodes = [parse_options(ServerOptions, node, where=where) for node in clusters[name]]
        if not nodes:
            raise ConfigError(f"{where} has no node.")
        return Server(where=where, prefix=_prefix(nodes[0], general), options=nodes[0], nodes=nodes)
    known = sorted({key for key in section if key not in AROUND} | set(clusters))
    raise ConfigError(f"{FILE} has no connection {name!r} under redis; it has {', '.join(known) or 'none'}.")


def _settings(options: ServerOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "username": options.username or None,
        "password": options.password or None,
        "db": options.database,
        "socket_timeout": _bounded(options.read_timeout),
        "socket_connect_timeout": _bounded(options.timeout),
        "socket_keepalive": True,
        # By itself the client tries again, and a start of a job would count twice whose answer was lost.
        "retry": Retry(NoBackoff(), 0),
    }
    url = "" if options.sentinels else options.url or ""  # its scheme wins
    if options.scheme == "tls" and not url:
        settings["ssl"] = True
    if "ssl" in settings or url.startswith("rediss://"):
        settings |= _certificates(options)
    return settings


def _certificates(options: ServerOptions) -> dict[str, Any]:
    context = options.context.get("stream", options.context)
    files = parse_options(Certificates, context, where=f"{FILE} (redis: context)")
    settings: dict[str, Any] = {
        "ssl_cert_reqs": "required" if files.verify_peer else "none",
        "ssl_check_hostname": files.verify_peer,
    }
    named = {"ssl_ca_certs": files.cafile, "ssl_certfile": files.local_cert, "ssl_keyfile": files.local_pk}
    return settings | {key: value for key, value in named.items() if value}


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return (host, int(port)) if host and port.isdecimal() else (text, 26379)


def _bounded(seconds: float) -> float:
    """Laravel's 0 is without end, and no call may be."""
    return seconds if seconds > 0 else PATIENCE


def _prefix(options: ServerOptions, general: General) -> str:
    return general.prefix if options.prefix is None else options.prefix
