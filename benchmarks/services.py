"""Servers of our own on loopback, for one run."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import NotMeasured

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """The port of a Redis that keeps nothing on its disk.

    Raises:
        NotMeasured: the program is not there.
    """
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with _server(["redis-server", *options], port):
        yield port


@contextmanager
def beanstalkd(folder: Path) -> Iterator[int]:
    """The port of a beanstalkd that keeps nothing on its disk.

    Raises:
        NotMeasured: the program is not there.
    """
    port = free_port()
    with _server(["beanstalkd", "-l", "127.0.0.1", "-p", str(port)], port):
        yield port


@contextmanager
def postgresql(folder: Path) -> Iterator[int]:
    """The port of a PostgreSQL as it is installed; its user and its database are `postgres`.

    Raises:
        NotMeasured: the program is not there.
    """
    if not POSTGRES:
        raise NotMeasured("PostgreSQL is not installed")
    port, place = free_port(), folder / "postgresql"
    place.mkdir()
    as_user: list[str] = []
    if os.getuid() == 0:  # it refuses to run as root
        folder.chmod(0o755)
        shutil.chown(place, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    make: list[str | Path] = [*as_user, POSTGRES[-1] / "initdb", "-U", "postgres", "-D", place / "d"]
    subprocess.run([*make, "--auth=trust", "--encoding=UTF8"], check=True, capture_output=True)
    serve: list[str | Path] = [*as_user, POSTGRES[-1] / "postgres", "-D", place / "d", "-p", str(port), "-k", place]
    with _server([*serve, "-c", "listen_addresses=127.0.0.1"], port):
        yield port


def version(command: Sequence[str | Path]) -> str:
    """What a program says of its version."""
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    words = said.replace("v=", "").split()
    return next((word for word in words if word[0].isdecimal()), "?")


def versions() -> str:
    """Those of the servers."""
    found: list[tuple[str, list[str | Path]]] = [
        ("Redis", ["redis-server", "--version"]),
        ("beanstalkd", ["beanstalkd", "-v"]),
    ]
    if POSTGRES:
        found.append(("PostgreSQL", [POSTGRES[-1] / "postgres", "--version"]))
    return ", ".join(f"{name} {version(command)}" for name, command in found if shutil.which(command[0]))


@contextmanager
def _server(command: Sequence[str | Path], port: int) -> Iterator[None]:
    if shutil.which(command[0]) is None:
        raise NotMeasured(f"{command[0]} is not installed")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_port(port)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _await_port(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise NotMeasured(f"nothing answers on port {port}")
