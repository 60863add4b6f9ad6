"""What the errors of Redis mean to those who push and to workers."""

import redis
from redis.exceptions import AuthenticationError, MaxConnectionsError, RedisClusterException

from lamplighter.errors import QueueError, Unavailable

ERRORS = (redis.RedisError, RedisClusterException)

# Answers of a server that takes nothing for now, and what an operator can do about it. What was asked is not done.
WAITS = {
    "LOADING": "It has just started, and reads its data.",
    "READONLY": "It is a replica, as after a failover; name its master, or the Sentinels.",
    "MASTERDOWN": "It is a replica whose master is away.",
    "BUSY": "A script keeps it busy; SCRIPT KILL ends one that has written nothing.",
    "CLUSTERDOWN": "A part of the Cluster is away.",
    "TRYAGAIN": "The Cluster is moving these keys.",
    "NOREPLICAS": "It has fewer replicas than min-replicas-to-write asks for.",
    "MISCONF": "It could not save its data to the disk, and refuses to take more.",
    "OOM": "Its memory is full. Raise maxmemory, and let maxmemory-policy be noeviction: any other drops jobs.",
}


def translate(error: Exception, address: str) -> QueueError:
    """An error as users meet it: Unavailable where asking again may do."""
    text = str(error) or type(error).__name__
    if isinstance(error, AuthenticationError):
        return QueueError(f"The queue's Redis at {address} refuses the user or the password: {text}")
    code = _code(error, text)
    if code in WAITS:
        return Unavailable(f"The queue's Redis at {address} takes nothing for now: {text} {WAITS[code]}")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | RedisClusterException):
        if isinstance(error, MaxConnectionsError):
            return Unavailable(f"All connections to the queue's Redis at {address} are in use: {text}")
        return Unavailable(f"The queue's Redis at {address} does not answer: {text}")
    if code == "NOPERM" or "permission" in text:
        return QueueError(
            f"The queue's Redis at {address} does not allow it: {text} Let the user run EVAL, EVALSHA and BLPOP on the "
            f"keys under the prefix."
        )
    if "WRONGTYPE" in text:
        return QueueError(
            f"A key of the queue in the Redis at {address} holds something else than Laravel's queues do: {text} "
            f"Rename the queue, or give it a prefix of its own (REDIS_PREFIX)."
        )
    return QueueError(f"The queue's Redis at {address} refuses: {text}")


def _code(error: Exception, text: str) -> str:
    """The word that an answer began with, of those that matter; the client drops it where it has a class for it."""
    of_class = {
        redis.BusyLoadingError: "LOADING",
        redis.ReadOnlyError: "READONLY",
        redis.OutOfMemoryError: "OOM",
        redis.exceptions.MasterDownError: "MASTERDOWN",
        redis.exceptions.ClusterDownError: "CLUSTERDOWN",
        redis.exceptions.TryAgainError: "TRYAGAIN",
        redis.exceptions.NoPermissionError: "NOPERM",
    }
    for kind, code in of_class.items():
        if isinstance(error, kind):
            return code
    # An error inside a script has the code behind the name of the script and the line.
    return next((code for code in WAITS if text.startswith(code) or f" {code} " in text), "")
