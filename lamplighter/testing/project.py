"""A project in a folder of its own, with one connection, and its workers as real processes."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamplighter.contracts import Message
from lamplighter.foundation.application import Application
from lamplighter.testing.waiting import wait_for

CONNECTION = "tested"
PROVIDERS = (
    "lamplighter.foundation.provider:FoundationServiceProvider",
    "lamplighter.cache.provider:CacheServiceProvider",
    "lamplighter.database.provider:DatabaseServiceProvider",
    "lamplighter.queue.provider:QueueServiceProvider",
)
PROBES = "lamplighter.testing.probes:ProbeServiceProvider"

BOOTSTRAP = '''
"""The application of a test."""

from pathlib import Path

from lamplighter import Application


def create_app():
    return Application(Path(__file__).resolve().parents[1], providers={providers!r})
'''

# The jobs of a store that ends with its process are pushed by the worker that is to run them.
ARTISAN = '''
"""The console of a test."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

if __name__ == "__main__":
    from lamplighter.support.early_signals import keep_pauses

    keep_pauses(sys.argv[1:])
    from bootstrap.app import create_app

    app = create_app()
    if sys.argv[1:2] == ["queue:work"]:
        from lamplighter.testing.project import push_what_waits

        push_what_waits(app.bootstrap(), FOLDER)
    sys.exit(app.run(sys.argv[1:]))
'''

CONFIG = {
    "app": {"name": "Tested", "env": "testing", "timezone": "UTC"},
    "cache": {
        "default": "file",
        "prefix": "tested-",
        "stores": {"file": {"driver": "file", "path": "storage/framework/cache/data"}},
    },
    "database": {
        "default": "sqlite",
        "connections": {"sqlite": {"driver": "sqlite", "database": "database/database.sqlite"}},
    },
    "logging": {
        "default": "stderr",
        "channels": {"stderr": {"driver": "stderr", "level": "info", "format": "line"}},
    },
}


class Project:
    """A folder with an application whose jobs are those of `probes`, and the processes that were started in it."""

    def __init__(
        self,
        folder: Path,
        connection: Mapping[str, Any],
        *,
        provider: str = "",
        files: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.jsonl"
        self._waiting = folder / "pushes.jsonl"
        self._processes: list[subprocess.Popen[str]] = []
        self._providers = [*PROVIDERS, *([provider] if provider else []), PROBES]
        self._connection = dict(connection)
        configs = {f"config/{name}.py": f"config = {values!r}\n" for name, values in CONFIG.items()}
        texts = {"artisan.py": ARTISAN, "bootstrap/app.py": BOOTSTRAP.format(providers=self._providers), **configs}
        for path, text in {**texts, **(files or {})}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        for path in ("gates", "database", "storage/framework"):
            (folder / path).mkdir(parents=True)
        self.configure()
        self.own_environment = {"APP_ENV": "testing", "PROBES": str(folder), **(environment or {})}
        paths = os.pathsep.join(path for path in sys.path if path)
        self.environment = {**os.environ, "PYTHONPATH": paths, **self.own_environment}

    def configure(self, **keys: Any) -> None:
        """Give the connection further keys, for the processes that start from now on."""
        queue = {"default": CONNECTION, "connections": {CONNECTION: {**self._connection, **keys}}, "failed": {}}
        (self.folder / "config/queue.py").write_text(f"config = {queue!r}\n")

    def application(self) -> Application:
        """One more application of this project, in this process."""
        return Application(self.folder, providers=self._providers).bootstrap()

    # processes ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def push_at_start(self, message: Message, queue: str) -> None:
        """Have the next worker push a message before it works."""
        line = {"queue": queue, "payload": base64.b64encode(message.payload).decode()}
        with self._waiting.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def worker(self, *options: str, queues: tuple[str, ...]) -> subprocess.Popen[str]:
        """Start `queue:work` with its output in worker.log."""
        with (self.folder / "worker.log").open("a") as output:
            process = subprocess.Popen(
                [sys.executable, "artisan.py", "queue:work", CONNECTION, f"--queue={','.join(queues)}", *options],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._processes.append(process)
        return process

    def artisan(self, *arguments: str) -> str:
        """Run a command to its end; what it has printed."""
        return self._run("artisan.py", *arguments)

    def python(self, program: str) -> str:
        """Run a program to its end, which may be its own kill."""
        return self._run("-c", program, status=-signal.SIGKILL)

    def _run(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def close(self) -> None:
        """End what is still running, and remove the folder's files that workers have left."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(10)
        shutil.rmtree(self.folder / "storage", ignore_errors=True)

    # what happened ─────────────────────────────────────────────────────────────────────────────────────────────────

    def open_gate(self, name: str) -> None:
        """Let jobs go on that wait at this gate, and those that will."""
        (self.folder / "gates" / name).touch()

    def refuse_failures(self, *, refuse: bool) -> None:
        """Have the store of failed jobs be away, or come back."""
        path = self.folder / "refuse"
        path.touch() if refuse else path.unlink()

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """What jobs have written down, of one kind or all."""
        if not self.ledger.exists():
            return []
        whole = self.ledger.read_text().rpartition("\n")[0]  # the last line may not be whole yet
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if event is None or line["event"] == event]

    def numbers(self, event: str) -> list[int]:
        """The jobs' numbers of one kind of event, in order."""
        return [line["n"] for line in self.events(event)]

    def attempts(self, event: str, number: int) -> list[int]:
        """The attempts of one job that an event was written of."""
        return [line["attempts"] for line in self.events(event) if line["n"] == number]

    def wait_for(self, event: str, count: int = 1, number: int | None = None) -> None:
        """Wait until there are so many events of one kind, of one job or all."""

        def is_there() -> bool:
            return len([n for n in self.numbers(event) if number in (None, n)]) >= count

        try:
            wait_for(is_there, what=f"{count} times {event!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {self.events()}\n{self.log()}") from None

    def log(self) -> str:
        """What workers have printed."""
        path = self.folder / "worker.log"
        return path.read_text() if path.exists() else ""


def push_what_waits(app: Application, folder: Path) -> None:
    """Push what `push_at_start` has put aside, in the worker's own process."""
    from lamplighter.queue.manager import QueueManager

    path = folder / "pushes.jsonl"
    if not path.exists():
        return
    queue = app.make(QueueManager).connection(CONNECTION)
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        queue.push(Message(base64.b64decode(fields["payload"])), queue=fields["queue"])
    path.unlink()
