"""What a PHP worker does to a queue: the scripts of Laravel 12 (Illuminate/Queue/LuaScripts.php) and their calls."""

import json
import time
from typing import Any

import redis

PUSH = """
redis.call('rpush', KEYS[1], ARGV[1])
redis.call('rpush', KEYS[2], 1)
"""
POP = """
local job = redis.call('lpop', KEYS[1])
local reserved = false
if(job ~= false) then
    reserved = cjson.decode(job)
    reserved['attempts'] = reserved['attempts'] + 1
    reserved = cjson.encode(reserved)
    redis.call('zadd', KEYS[2], ARGV[1], reserved)
    redis.call('lpop', KEYS[3])
end
return {job, reserved}
"""
RELEASE = """
redis.call('zrem', KEYS[2], ARGV[1])
redis.call('zadd', KEYS[1], ARGV[2], ARGV[1])
return true
"""
MIGRATE = """
local val = redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[1], 'limit', 0, ARGV[2])
if(next(val) ~= nil) then
    redis.call('zremrangebyrank', KEYS[1], 0, #val - 1)
    for i = 1, #val, 100 do
        redis.call('rpush', KEYS[2], unpack(val, i, math.min(i+99, #val)))
        for j = i, math.min(i+99, #val) do
            redis.call('rpush', KEYS[3], 1)
        end
    end
end
return val
"""


class Laravel:
    """A PHP application's queue connection, with the clock of its host."""

    def __init__(self, client: "redis.Redis", prefix: str, retry_after: int = 90) -> None:
        self._client = client
        self._prefix = prefix
        self._retry_after = retry_after

    def push(self, queue: str, payload: bytes) -> None:
        """RedisQueue::pushRaw."""
        key = self._key(queue)
        self._client.eval(PUSH, 2, key, f"{key}:notify", payload)

    def later(self, queue: str, payload: bytes, delay: int) -> None:
        """RedisQueue::laterRaw."""
        self._client.zadd(f"{self._key(queue)}:delayed", {payload: int(time.time()) + delay})

    def pop(self, queue: str) -> tuple[bytes, bytes] | None:
        """RedisQueue::pop: the payload, and the reserved one."""
        key = self._key(queue)
        for waiting in (f"{key}:delayed", f"{key}:reserved"):
            self._client.eval(MIGRATE, 3, waiting, key, f"{key}:notify", int(time.time()), -1)
        until = int(time.time()) + self._retry_after
        answer: Any = self._client.eval(POP, 3, key, f"{key}:reserved", f"{key}:notify", until)
        return None if answer[0] is None else (answer[0], answer[1])

    def delete(self, queue: str, reserved: bytes) -> None:
        """RedisQueue::deleteReserved."""
        self._client.zrem(f"{self._key(queue)}:reserved", reserved)

    def release(self, queue: str, reserved: bytes, delay: int) -> None:
        """RedisQueue::deleteAndRelease."""
        key = self._key(queue)
        self._client.eval(RELEASE, 2, f"{key}:delayed", f"{key}:reserved", reserved, int(time.time()) + delay)

    def attempts(self, payload: bytes) -> int:
        """RedisJob::attempts."""
        return int(json.loads(payload)["attempts"]) + 1

    def _key(self, queue: str) -> str:
        return f"{self._prefix}queues:{queue}"
