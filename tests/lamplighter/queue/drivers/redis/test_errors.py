"""What errors of the client mean."""

import pytest
import redis
from redis import exceptions

from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.redis.errors import translate

WAITING = [
    redis.ConnectionError("Connection refused"),
    redis.TimeoutError("Timeout reading from socket"),
    redis.BusyLoadingError("Redis is loading the dataset in memory"),
    redis.ReadOnlyError("You can't write against a read only replica."),
    redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    exceptions.MasterDownError("Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
    exceptions.ClusterDownError("Hash slot not served"),
    exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    exceptions.MaxConnectionsError("Too many connections"),
    exceptions.RedisClusterException("Redis Cluster cannot be connected."),
    redis.ResponseError("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
    redis.ResponseError("MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk."),
    redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
    redis.ResponseError("MISCONF Errors writing to the AOF file script: 0123, on @user_script:7."),
    redis.ResponseError("ERR Error running script (call to f_0123): @user_script:7: READONLY You can't write"),
]
REFUSING = [
    redis.AuthenticationError("invalid username-password pair or user is disabled."),
    exceptions.NoPermissionError("this user has no permissions to run the 'evalsha' command"),
    redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    redis.ResponseError("ERR unknown command 'EVALSHA'"),
    redis.DataError("Invalid input of type"),
    exceptions.ClusterCrossSlotError("Keys in request don't hash to the same slot"),
]


@pytest.mark.parametrize("error", WAITING, ids=lambda error: f"{type(error).__name__}-{str(error)[:12]}")
def test_a_server_that_may_answer_later_is_asked_again(error: Exception) -> None:
    found = translate(error, "redis.local:6379")

    assert isinstance(found, Unavailable)
    assert "redis.local:6379" in str(found)


@pytest.mark.parametrize("error", REFUSING, ids=lambda error: type(error).__name__)
def test_a_server_that_refuses_ends_the_worker(error: Exception) -> None:
    found = translate(error, "redis.local:6379")

    assert not isinstance(found, Unavailable)
    assert "redis.local:6379" in str(found)
