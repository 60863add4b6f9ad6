"""Whom SQS is asked as, the addresses of queues, and what its errors mean."""

import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from botocore import exceptions  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

from lamplighter.errors import QueueError, Unavailable
from lamplighter.queue.drivers.sqs.answers import UNREADABLE, look_at_body, look_at_members
from lamplighter.support.forking import watch
from lamplighter.support.immortal import keep_for_ever

FIFO = ".fifo"
CONNECT = 3.0  # seconds until a server that can't be reached is away
ANSWER = 7.0  # seconds more until one that does not answer is, beside what it was asked to wait
MISSING = ("QueueDoesNotExist", "NonExistentQueue")
EXPIRED = "ExpiredToken"
# What AWS tells callers to try again later; and credentials that have run out, since others may come.
LATER = (
    "Throttl",
    "OverLimit",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "SlowDown",
    "TooManyRequests",
    "PriorRequestNotComplete",
    "RequestTimeout",
    "RequestExpired",
    EXPIRED,
    "ServiceUnavailable",
    "InternalFailure",
    "InternalError",
)
LATER_STATUS = (408, 429)


@dataclass(frozen=True, slots=True)
class Access:
    """Where SQS is, and the credentials, which are never shown."""

    region: str
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    endpoint: str = ""
    prefix: str = ""
    suffix: str = ""


class Account:
    """SQS as this connection sees it."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._begin_anew()
        watch(self, in_child=Account._begin_as_child, locks=lambda account: (account._making,))

    def _begin_anew(self) -> None:
        self._making = threading.Lock()
        self._clients: dict[float, Any] = {}  # by the seconds that their answers may take
        self._addresses: dict[str, str] = {}

    def _begin_as_child(self) -> None:
        keep_for_ever(self._clients)
        self._begin_anew()

    def address(self, queue: str) -> str:
        """The URL of a queue: what is one already, or Laravel's: the prefix, the name, the suffix.

        Raises:
            Unavailable: SQS had to be asked, and does not answer.
            QueueError: there is no such queue.
        """
        found = self._addresses.get(queue)
        if found is None:
            found = self._addresses[queue] = self._find(queue)
        return found

    def ask(self, operation: str, queue: str, **arguments: Any) -> dict[str, Any]:
        """Ask for one operation, such as `send_message`, on a queue; its answer is complete, see `answers`.

        Raises:
            Unheard: SQS may have done it.
            Unavailable: SQS does not answer, or wants to be asked later.
            QueueError: it refuses.
        """
        return self._call(operation, queue, QueueUrl=self.address(queue), **arguments)

    def close(self) -> None:
        """Close the connections; the next question makes new ones."""
        with self._making:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _find(self, queue: str) -> str:
        if urlsplit(queue).scheme in ("http", "https"):
            return queue
        suffix = self._access.suffix
        stem = queue.removesuffix(FIFO)
        name = stem.removesuffix(suffix) + suffix + (FIFO if queue.endswith(FIFO) else "")
        if self._access.prefix:
            return f"{self._access.prefix.rstrip('/')}/{name}"
        return str(self._call("get_queue_url", name, QueueName=name)["QueueUrl"])

    def _call(self, operation: str, queue: str, **arguments: Any) -> dict[str, Any]:
        try:
            client = self._made(ANSWER + arguments.get("WaitTimeSeconds", 0))
            answer: dict[str, Any] = getattr(client, operation)(**arguments)
            look_at_members(operation, arguments, answer)
        except exceptions.ClientError as error:
            raise self._refusal(error, operation, queue) from error
        except exceptions.ConnectionError as error:
            raise Unavailable(f"SQS does not answer: {error}") from error
        except exceptions.HTTPClientError as error:
            raise Unheard(f"SQS does not answer: {error}") from error
        except UNREADABLE as error:
            raise Unheard(f"What answers {operation} on the queue {queue!r} is not SQS, or was cut: {error}") from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise QueueError(
                f"SQS can't be asked without credentials ({error}). Set SQS_KEY and SQS_SECRET, or give the machine a "
                f"role."
            ) from error
        except (exceptions.BotoCoreError, ValueError) as error:  # a ValueError where the endpoint is no address
            raise QueueError(f"SQS can't be asked about the queue {queue!r}: {error}") from error
        return answer

    def _refusal(self, error: exceptions.ClientError, operation: str, queue: str) -> QueueError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        text = str(error.response.get("Error", {}).get("Message", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if any(code.endswith(missing) for missing in MISSING):
            place = self._access.prefix or f"the region {self._access.region}"
            return QueueError(f"SQS has no queue {queue!r} at {place}. Create it, or mend SQS_PREFIX or SQS_REGION.")
        if status >= 500 and code in ("", str(status)):  # a gateway's: what is behind it may have done it
            return Unheard(f"SQS is away: {status} {text}")
        if EXPIRED in code:
            self._clients = {}  # the next one reads credentials anew, where they come from a file or the machine
        if status >= 500 or status in LATER_STATUS or is_later(code):
            return Unavailable(f"SQS is away: {code} {text}")
        return Refused(f"SQS refuses {operation} on the queue {queue!r}: {code}: {text}", code)

    def _made(self, seconds: float) -> Any:
        client = self._clients.get(seconds)
        if client is None:
            with self._making:
                client = self._clients.get(seconds)
                if client is None:
                    client = self._clients[seconds] = self._make(seconds)
        return client

    def _make(self, seconds: float) -> Any:
        access = self._access
        # One try: a second one would count another reception of a job whose first answer was lost.
        config = Config(
            connect_timeout=CONNECT,
            read_timeout=seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=20,
        )
        # In a session of its own: the default one is not safe among threads.
        client = boto3.session.Session().client(
            "sqs",
            region_name=access.region,
            endpoint_url=access.endpoint or _server_of(access.prefix),
            aws_access_key_id=access.key if access.key and access.secret else None,
            aws_secret_access_key=access.secret if access.key and access.secret else None,
            aws_session_token=access.token if access.key and access.secret and access.token else None,
            config=config,
        )
        client.meta.events.register("after-call.sqs", look_at_body)
        return client


class Unheard(Unavailable):
    """The answer of SQS was lost: what it was asked may have been done."""


class Refused(QueueError):
    """SQS says no; `code` is its word for it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def is_later(code: str) -> bool:
    """Whether an error of SQS, that of a request or of an entry of a batch, may be none when it is asked again."""
    return any(word in code for word in LATER)


def _server_of(prefix: str) -> str | None:
    """Where the prefix names another server than Amazon's, it is asked there, as PHP's client does."""
    parts = urlsplit(prefix)
    host = parts.hostname or ""
    if not parts.scheme or host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return None
    return f"{parts.scheme}://{parts.netloc}"
