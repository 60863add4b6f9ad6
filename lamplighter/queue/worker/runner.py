"""Makes a job of a payload and runs it."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Coroutine
from contextvars import Context, copy_context
from typing import Any, cast

from lamplighter.contracts import Container, DriverDelivery
from lamplighter.errors import ConfigError, PayloadError, UnknownJob, UnreadablePayload
from lamplighter.logging.context import job_context
from lamplighter.queue.claims.claims import ReadClaim, refuse_claim
from lamplighter.queue.delivery import Deleted, Failed, InHand, Released
from lamplighter.queue.dispatching.deferring import Deferred
from lamplighter.queue.dispatching.pushes import Pushes
from lamplighter.queue.jobs.definition import path_of
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import CLAIM_JOB, Envelope, read
from lamplighter.queue.jobs.registry import Entry, Registry
from lamplighter.queue.jobs.retries import Policy, parse_backoff
from lamplighter.queue.worker.eventloop import KeptLoop
from lamplighter.support.forking import watch
from lamplighter.support.loops import is_in_event_loop, outside_of_event_loop
from lamplighter.support.unrun import discard, finish, is_awaitable, refuse_lazy, refuse_unrun

UNREADABLE = "unreadable payload"


class Start:
    """One start of one delivery: what is known of its job before, while and after it runs.

    One is made for each job, so that what most never need is a default of the class.

    Attributes:
        may_push_ahead: it runs, and whoever runs it settles it only when its pushes are acknowledged.
        is_told: its beginning was told already, when it was begun among others.
        pushes: what it has pushed in that time.
        deferred: the jobs that it has dispatched to run at its own end; None while there are none.
    """

    name = UNREADABLE
    began = 0.0
    envelope: Envelope | None = None
    entry: Entry | None = None
    job: Job | None = None
    view: InHand | None = None
    may_push_ahead = False
    is_told = False
    pushes: Pushes | None = None
    deferred: Deferred | None = None

    def __init__(self, delivery: DriverDelivery, policy: Policy) -> None:
        self.delivery = delivery
        self.policy = policy
        self.attempts = delivery.retries + 1

    @property
    def id(self) -> str:
        """The message's key as text, else the payload's `id`, else its `uuid`."""
        key, envelope = self.delivery.key, self.envelope
        if key or envelope is None:
            return (key or b"").decode("utf-8", "replace")
        return envelope.own_id()

    @property
    def uuid(self) -> str | None:
        """The payload's uuid."""
        return None if self.envelope is None else self.envelope.uuid

    def in_hand(self) -> InHand:
        """The delivery as handlers see it; one for each start."""
        if self.view is None:
            self.view = InHand(self.delivery, self.id, self.attempts)
        return self.view

    @property
    def wish(self) -> "Deleted | Released | Failed | None":
        """What the handler asked for; None when it left it to the worker."""
        return None if self.view is None else self.view.wish

    def end(self) -> "Deleted | Released | Failed | None":
        """What the handler has asked for; a thread that it has left behind can ask for nothing from now on."""
        view = self.view
        if view is None:
            return None
        view.has_ended = True
        return view.wish

    def undo_deletion(self) -> None:
        """It has asked to be done with, and is not."""
        if self.view is not None and isinstance(self.view.wish, Deleted):
            self.view.wish = None


def pushes_ahead() -> Pushes | None:
    """Where the job that runs here counts what it pushes without waiting; None where a push has to wait."""
    start = job_context.get()
    if not isinstance(start, Start) or not start.may_push_ahead:
        return None
    if start.pushes is None:
        start.pushes = Pushes()
    return start.pushes


class Runner:
    """Reads payloads and runs their jobs, with `defaults` for what neither payload nor class says."""

    def __init__(
        self, registry: Registry, container: Container, defaults: Policy, *, read_claim: ReadClaim = refuse_claim
    ) -> None:
        self._find = registry.find
        self._container = container
        self._scope = container.scope
        self._defaults = defaults
        self._read_claim = read_claim
        self._policies: dict[Entry, Policy] = {}
        self._local = threading.local()
        watch(self, in_child=Runner._begin_as_child)

    def start(self, delivery: DriverDelivery) -> Start:
        """A start that knows nothing yet; `read` fills it, so that one which fails half way can be named."""
        return Start(delivery, self._defaults)

    def read(self, start: Start) -> None:
        """Fill in what the payload says, and the job it names; no job where workers have died of it too often.

        Raises:
            PayloadError: the message can't become a job.
        """
        start.envelope = envelope = read(start.delivery.payload)
        start.name = envelope.display_name or envelope.job
        if envelope.attempts:
            start.attempts += envelope.attempts
        entry = None
        try:
            entry = self._find(envelope.job)
        except UnknownJob:
            if envelope.job != CLAIM_JOB:
                raise
        if entry is None:  # not in the except: a store that is away has nothing to do with an unknown job
            envelope = self._fetch(start)
            entry = self._find(envelope.job)
        start.entry = entry
        start.policy = self._policy_for(entry, envelope)
        if start.attempts > 1 and _has_killed(start):
            return
        context = copy_context()  # the data may be read by code of the job's own
        try:
            start.job = context.run(entry.make, envelope)
        finally:
            if context.get(self._scope):
                context.run(self._container.end_scope)

    def has_further_start(self, delivery: DriverDelivery) -> bool:
        """Whether a job may be started once more if its worker dies of its next start.

        Nothing of the application's runs for that. What can't be read, or is kept elsewhere, may not.
        """
        try:
            envelope = read(delivery.payload)
            policy = self._policy_for(self._find(envelope.job), envelope)
        except PayloadError:
            return False
        return policy.may_start((envelope.attempts or 0) + delivery.retries + 2, has_crashed=True)

    def _policy_for(self, entry: Entry, envelope: Envelope) -> Policy:
        policy = self._policies.get(entry) or self._policy(entry)
        if envelope.max_tries is not None or envelope.timeout is not None or envelope.backoff is not None:
            return _said(envelope, policy)
        return policy

    def _fetch(self, start: Start) -> Envelope:
        """The whole payload of one that was put aside; only here its headers are looked at."""
        payload = self._read_claim(start.delivery)
        start.view = InHand(start.delivery, start.id, start.attempts, payload=payload)
        return read(payload)

    def policy_of(self, entry: Entry) -> Policy:
        """What a class says of its jobs, over the options."""
        return self._policies.get(entry) or self._policy(entry)

    def run(self, start: Start) -> None:
        """Handle the job; what the handler raises passes through. Its scope ends here; then runs what it has deferred.

        It runs in a copy of the caller's context: what it puts into context variables, no other job sees. A plain
        handler that returns a coroutine, as a decorated `async def` may, has not run yet: it is awaited here.

        Raises:
            HandlerError: it has returned a generator, so that its work was not done.
        """
        entry = start.entry
        assert entry is not None  # read() has filled it
        context = copy_context()
        if entry.is_async:
            self._await(self.run_async(start), context)
            return
        is_done = False
        try:
            try:
                result = context.run(entry.handle, start.job, start.in_hand() if entry.wants_delivery else None)
                if result is not None:
                    self._finish(result, f"{path_of(entry.cls)}.handle", context)
            finally:
                if context.get(self._scope):
                    context.run(self._container.end_scope)
            is_done = True
        finally:
            if start.deferred is not None:
                has_failed = not is_done or _wants_another_end(start)
                start.deferred.end(has_failed=has_failed, is_repeated=_is_repeated(start))

    async def run_async(self, start: Start) -> None:
        """The same for a handler that is `async def`, in the running event loop and its task's context."""
        entry, job = start.entry, start.job
        assert entry is not None  # read() has filled it
        is_done = False
        try:
            try:
                work = cast(Awaitable[object], entry.handle(job, start.in_hand() if entry.wants_delivery else None))
                if (result := await work) is not None:
                    await _rest(result, f"{path_of(entry.cls)}.handle")
            finally:
                self._container.end_scope()
            is_done = True
        finally:
            if start.deferred is not None:
                has_failed = not is_done or _wants_another_end(start)
                await start.deferred.end_async(has_failed=has_failed, is_repeated=_is_repeated(start))

    def _finish(self, result: object, name: str, context: Context) -> None:
        """Do what a method has left to whoever called it; any other value that it returns is ignored."""
        if is_awaitable(result):
            self._await(_all_of(result, name), context, discard_with=result)
        else:
            refuse_unrun(result, name)

    def _await(self, work: Coroutine[Any, Any, None], context: Context, *, discard_with: object = None) -> None:
        """Run a coroutine to its end, in an event loop that this thread keeps; where one runs, in another thread."""
        if is_in_event_loop():
            outside_of_event_loop(lambda: self._await_once(work, context, discard_with))
        else:
            self._await_here(work, context, discard_with)

    def _await_once(self, work: Coroutine[Any, Any, None], context: Context, discard_with: object) -> None:
        try:
            self._await_here(work, context, discard_with)
        finally:
            self._forget(self._local.loops)

    def _await_here(self, work: Coroutine[Any, Any, None], context: Context, discard_with: object) -> None:
        loops = getattr(self._local, "loops", None)
        if loops is None:
            loops = self._local.loops = KeptLoop()
        left: list[BaseException] = []
        coroutine = _within(work, left)
        try:
            loops.run(coroutine, context=context)
        except BaseException:
            for one in (coroutine, work, discard_with):
                discard(one)
            if inspect.getcoroutinestate(coroutine) == inspect.CORO_SUSPENDED:
                # A task beside it has raised SystemExit, or somebody has stopped the loop: what is left of this job
                # would go on beside the next one.
                self._forget(loops)
            raise
        if left:
            raise left[0]

    def _forget(self, loops: KeptLoop) -> None:
        if getattr(self._local, "loops", None) is loops:  # else this is a child, and they are its parent's
            del self._local.loops
            loops.close()

    def _begin_as_child(self) -> None:
        self._local = threading.local()

    def run_failed(self, start: Start, error: BaseException) -> None:
        """Call the job's `failed` method, where it has one, in a context of its own."""
        entry = start.entry
        if entry is None or entry.failed is None or start.job is None:
            return
        # What the hook asks of the delivery is not done; the whole payload of one that was put aside, it has.
        payload = None if start.view is None else start.view.payload
        delivery = InHand(start.delivery, start.id, start.attempts, payload=payload)
        context = copy_context()
        try:
            result = context.run(entry.failed, start.job, error, delivery)
            if result is not None:
                self._finish(result, f"{path_of(entry.cls)}.failed", context)
        finally:
            if context.get(self._scope):
                context.run(self._container.end_scope)

    def _policy(self, entry: Entry) -> Policy:
        defaults = self._defaults
        policy = self._policies[entry] = Policy(
            tries=defaults.tries if entry.tries is None else entry.tries,
            backoff=defaults.backoff if entry.backoff is None else entry.backoff,
            timeout=defaults.timeout if entry.timeout is None else entry.timeout,
            is_tries_said=entry.tries is not None,
        )
        return policy


def _wants_another_end(start: Start) -> bool:
    """Whether a handler has asked to be run again, or to have failed, though it has returned."""
    return isinstance(start.wish, Released | Failed)


def _is_repeated(start: Start) -> bool:
    """Whether a job that is broken off now runs again, or is recorded: it has not asked to be done with."""
    return not isinstance(start.wish, Deleted)


async def _all_of(work: Awaitable[object], name: str) -> None:
    """Await what a plain method has returned, and a coroutine that this returns in its turn."""
    refuse_lazy(await finish(work), name)


async def _rest(result: object, name: str) -> None:
    """Await what an async method has returned, where that is a coroutine."""
    refuse_lazy(await finish(result) if inspect.iscoroutine(result) else result, name)


async def _within(work: Coroutine[Any, Any, None], left: list[BaseException]) -> None:
    """Await `work`; what it raises goes into `left`, since SystemExit would leave the loop within its turn."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        left.append(error)


def _has_killed(start: Start) -> bool:
    """Whether workers have died of a job that is out of its tries: of its `failed()`, or of its `from_data`."""
    return start.delivery.has_crashed and not start.policy.may_start(start.attempts - 2, has_crashed=True)


def _said(envelope: Envelope, policy: Policy) -> Policy:
    """The payload's own values over the class's and the options'; negative seconds are 0, as Laravel takes them.

    Raises:
        UnreadablePayload: `maxTries` is negative: Laravel fails such a job before its first start.
    """
    tries, timeout = envelope.max_tries, envelope.timeout
    if tries is not None and tries < 0:
        raise UnreadablePayload(f"The payload has {tries} for maxTries, which is 0 (no end) or more.")
    try:
        backoff = policy.backoff
        if envelope.backoff is not None:
            backoff = tuple(max(0.0, wait) for wait in parse_backoff(envelope.backoff))
    except ConfigError as error:
        raise UnreadablePayload(f"The payload's backoff can't be read: {error}") from error
    return Policy(
        tries=policy.tries if tries is None else tries,
        backoff=backoff,
        timeout=policy.timeout if timeout is None else max(0, timeout),
        is_tries_said=policy.is_tries_said or tries is not None,
    )
