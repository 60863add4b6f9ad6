"""Whom SQS is asked as, the addresses of queues, and what its errors mean."""

import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from botocore import exceptions  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

from lamplighter.errors import QueueError, Unavailable
from lamplighter.support.forking import watch
from lamplighter.support.immortal import keep_for_ever

FIFO = ".fifo"
ANSWER = 10.0  # seconds until a server that does not answer is away
LONG_POLL = 20.0  # seconds that an answer may be waited for on purpose
MISSING = ("QueueDoesNotExist", "NonExistentQueue")
# What AWS tells callers to try again later.
LATER = ("Throttl", "OverLimit", "ServiceUnavailable", "InternalFailure", "InternalError", "TooManyRequests")


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
        self._client: Any = None
        self._addresses: dict[str, str] = {}

    def _begin_as_child(self) -> None:
        keep_for_ever(self._client)
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
        """Ask for one operation, such as `send_message`, on a queue.

        Raises:
            Unavailable: SQS does not answer, or wants to be asked later.
            QueueError: it refuses.
        """
        return self._call(operation, queue, QueueUrl=self.address(queue), **arguments)

    def close(self) -> None:
        """Close the connections; the next question makes new ones."""
        with self._making:
            client, self._client = self._client, None
        if client is not None:
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
            answer: dict[str, Any] = getattr(self._made(), operation)(**arguments)
        except exceptions.ClientError as error:
            raise self._refusal(error, operation, queue) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise Unavailable(f"SQS does not answer: {error}") from error
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
        if status >= 500 or any(word in code for word in LATER):
            return Unavailable(f"SQS is away: {code} {text}")
        return Refused(f"SQS refuses {operation} on the queue {queue!r}: {code}: {text}", code)

    def _made(self) -> Any:
        client = self._client
        if client is None:
            with self._making:
                client = self._client
                if client is None:
                    client = self._client = self._make()
        return client

    def _make(self) -> Any:
        access = self._access
        # One try: a second one would count another reception of a job whose first answer was lost.
        config = Config(
            connect_timeout=ANSWER,
            read_timeout=ANSWER + LONG_POLL,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=20,
        )
        # In a session of its own: the default one is not safe among threads.
        return boto3.session.Session().client(
            "sqs",
            region_name=access.region,
            endpoint_url=access.endpoint or _server_of(access.prefix),
            aws_access_key_id=access.key if access.key and access.secret else None,
            aws_secret_access_key=access.secret if access.key and access.secret else None,
            aws_session_token=access.token if access.key and access.secret and access.token else None,
            config=config,
        )


class Refused(QueueError):
    """SQS says no; `code` is its word for it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def _server_of(prefix: str) -> str | None:
    """Where the prefix names another server than Amazon's, it is asked there, as PHP's client does."""
    parts = urlsplit(prefix)
    host = parts.hostname or ""
    if not parts.scheme or host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return None
    return f"{parts.scheme}://{parts.netloc}"
