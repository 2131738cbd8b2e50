"""Jobs at once: each with its deadline, failures as data, nothing left behind.

Sync and async take the same jobs and give the same outcomes; only the waiting differs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from llama_index_mmrag.concurrency.deadlines import Deadline
from llama_index_mmrag.concurrency.retries import pause_before_retry
from llama_index_mmrag.concurrency.threads import (
    NoThread,
    Work,
    abandon,
    in_thread,
    n_abandoned,
    working_for,
)
from llama_index_mmrag.concurrency.turns import SEARCHING, in_turn
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.fusion.ranked_list import InvalidScore
from llama_index_mmrag.provenance import Degradation, DegradationKind

T = TypeVar("T")

MOST_ABANDONED = 8
"""Threads that a source may hold past their deadline before it is left alone.

A thread that hangs cannot be ended, so that every query to a store that hangs would
leave one behind.
"""

GRACE_S = 0.02
"""How long a cancelled task may take to clean up while its caller waits."""


class DeadlineMissed(Exception):
    """A job gave no answer in time."""


class StillBusy(Exception):
    """A job was not begun: too many earlier ones have not come back."""


class Unrepeatable(Exception):  # noqa: N818 - carries an error, is not one to catch
    """Work would fail again if it were repeated; `args[0]` is the outcome."""


class AskerAtFault(Exception):  # noqa: N818 - carries an error, is not one to catch
    """What is asked for is at fault itself, such as a picture; `args[0]` says why.

    Told apart from the same error of who is asked, which costs that job its answer and
    not the walk.
    """


Outcome: TypeAlias = "T | Exception"

Way = Literal["here", "thread", "await"]
"""Where something is best done: by its caller, being too short to be worth a thread;
in a thread; or on the event loop, if there is one."""


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """Something to ask of a channel: a search, or a lookup."""

    name: str
    """What it is for, such as "text→image" or "fetch image"."""
    channel: str
    work: Callable[[], T]
    awork: Callable[[], Awaitable[T]] | None = field(default=None, kw_only=True)
    """The same without holding a thread, where the way is "await"."""
    source: object = field(kw_only=True)
    """What is asked; its threads are counted together."""
    span: Span = field(kw_only=True)
    way: Way = field(default="thread", kw_only=True)
    deadline: Deadline | None = field(default=None, kw_only=True)
    """With one, not even short work is done by its caller, who must not wait longer."""
    n_retries: int = field(default=0, kw_only=True)
    """How often it is repeated where that may help; it must only read."""

    @property
    def is_short(self) -> bool:
        """Whether a thread for it would cost more than it gains."""
        return self.way == "here" and self.deadline is None

    @property
    def lane(self) -> str | None:
        """Whose threads it takes from the event loop; None: its source's own."""
        return SEARCHING if self.way == "here" else None

    def do(self) -> T:
        """Return the work's result, within the job's span."""
        with self.span:
            for attempt in count(1):
                try:
                    return self.work()
                except Exception as error:
                    time.sleep(self._pause(error, attempt))
        raise AssertionError  # pragma: no cover - the loop has no end

    async def ado(self) -> T:
        """Return what `do` does; a thread is held only if there is no other way."""
        with working_for(self.source):
            if self.awork is None or self.way != "await":
                return await in_turn(self.do, self.source, lane=self.lane)
            with self.span:
                for attempt in count(1):
                    try:
                        return await self.awork()
                    except Exception as error:  # noqa: BLE001 - raised again, or not
                        pause_s = self._pause(error, attempt)
                    await asyncio.sleep(pause_s)
        raise AssertionError  # pragma: no cover - the loop has no end

    def _pause(self, error: Exception, attempt: int) -> float:
        """Return the seconds to wait before the next attempt, or raise the error."""
        if isinstance(error, Unrepeatable):
            raise error.args[0]
        pause_s = None
        if attempt <= self.n_retries:
            pause_s = pause_before_retry(error, attempt, self.deadline)
        if pause_s is None:
            raise error
        return pause_s

    def refusal(self) -> StillBusy | None:
        """Return why the job is not to be begun."""
        if self.deadline is None and self.way == "here":
            return None
        return still_busy(self.source)

    def missed(self) -> DeadlineMissed:
        """End the job's span; return the error of its deadline."""
        timeout_s = self.deadline.timeout_s if self.deadline else 0.0
        error = DeadlineMissed(f"no answer within {timeout_s:g} s")
        self.span.drop(error)
        return error


def still_busy(source: object, who: str = "") -> StillBusy | None:
    """Return why a source is not to be asked: it has not come back too often.

    Args:
        source: What threads are counted to.
        who: What stands before that in the reason, such as "the encoder is".
    """
    if n_abandoned(source) < MOST_ABANDONED:
        return None
    return StillBusy(
        f"{who} still busy with {MOST_ABANDONED} earlier searches that missed their "
        f"deadline or were cancelled".strip()
    )


Settled: TypeAlias = "tuple[list[Any], list[Degradation]]"
"""What jobs gave, and why the others gave nothing."""

Steps: TypeAlias = "Generator[Sequence[Job[Any]], Settled, T]"
"""A walk that yields jobs, is sent what became of them, and returns what it came to."""


def walk(steps: Steps[T]) -> T:
    """Return what the steps return; the jobs of each are done at once.

    Raises:
        ImageUnreadable: The query is at fault, and not what was asked.
        InvalidQuery: Likewise.
    """
    try:
        jobs = next(steps)
        while True:
            jobs = steps.send(_settled(jobs, run_all(jobs)))
    except StopIteration as end:
        found: T = end.value
        return found


async def awalk(steps: Steps[T]) -> T:
    """Return what `walk` does, without blocking the event loop.

    As long as a step's jobs are all short it is walked in one thread.
    """
    try:
        jobs = next(steps)
        while True:
            if jobs and all(job.is_short for job in jobs):
                short = partial(_while_short, steps, jobs)
                with suppress(NoThread):
                    jobs, end = await in_turn(short, jobs[0].source, lane=SEARCHING)
                    if end is not None:
                        raise end
            jobs = steps.send(_settled(jobs, await arun_all(jobs)))
    except StopIteration as over:
        found: T = over.value
        return found


def _while_short(
    steps: Steps[T], jobs: Sequence[Job[Any]]
) -> tuple[Sequence[Job[Any]], StopIteration | None]:
    """Return the first jobs that are to be awaited, or the walk's end."""
    try:
        while all(job.is_short for job in jobs):
            jobs = steps.send(_settled(jobs, run_all(jobs)))
    except StopIteration as end:
        return jobs, end
    return jobs, None


def _settled(jobs: Sequence[Job[Any]], outcomes: Sequence[Any]) -> Settled:
    given: list[Any] = []
    lost: list[Degradation] = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        if not isinstance(outcome, Exception):
            given.append(outcome)
            continue
        if isinstance(outcome, AskerAtFault):
            raise outcome.args[0]
        kind, reason = _KINDS.get(type(outcome), "error"), str(outcome)
        if kind == "error":
            reason = f"{type(outcome).__name__}: {reason}"
        lost.append(Degradation(job.channel, job.name, kind, reason))
    return given, lost


_KINDS: dict[type[Exception], DegradationKind] = {
    DeadlineMissed: "deadline",
    StillBusy: "busy",
    InvalidScore: "invalid",
}


def run_all(jobs: Sequence[Job[T]]) -> list[Outcome[T]]:
    """Return what each job gave or raised, in the order of `jobs`.

    Remote jobs run in threads of their own; short ones meanwhile on this one.
    """
    here = [job.is_short for job in jobs]
    patient = [index for index, job in enumerate(jobs) if job.deadline is None]
    if patient and not any(here):
        # This thread would only wait: it may as well do one that has no deadline.
        here[patient[-1]] = True
    turns = list(zip(jobs, here, strict=True))
    begun = [None if mine else _begun(job) for job, mine in turns]
    outcomes: list[Any] = [
        (job.refusal() or _done(job.do)) if mine else None for job, mine in turns
    ]
    for index, future in enumerate(begun):
        if future is not None:
            outcomes[index] = _waited(jobs[index], future)
    return outcomes


async def arun_all(jobs: Sequence[Job[T]]) -> list[Outcome[T]]:
    """Return what `run_all` does, without blocking the event loop.

    Cancelled, it cancels every job before it ends.
    """
    outcomes: list[Any] = [job.refusal() for job in jobs]
    waiting = {
        asyncio.ensure_future(job.ado()): index
        for index, job in enumerate(jobs)
        if outcomes[index] is None
    }
    late: set[asyncio.Task[T]] = set()
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, timeout=_least_left_s(jobs, waiting))
            for task in done:
                outcomes[waiting.pop(task)] = _result_of(task)
            for task, index in list(waiting.items()):
                job = jobs[index]
                if job.deadline is not None and job.deadline.left_s <= 0:
                    outcomes[waiting.pop(task)] = job.missed()
                    late.add(task)
                    _dismiss(task)
    finally:
        for task, index in waiting.items():
            jobs[index].span.drop(asyncio.CancelledError("the query was cancelled"))
            late.add(task)
            _dismiss(task)
        if late:
            await asyncio.wait(late, timeout=GRACE_S)
    return outcomes


def _begun(job: Job[T]) -> Work[T] | StillBusy:
    with working_for(job.source):
        return job.refusal() or in_thread(job.do, may_cancel=job.deadline is None)


def _done(work: Callable[[], T]) -> Outcome[T]:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - one job's failure is data
        return error


def _waited(job: Job[T], future: Work[T] | StillBusy) -> Outcome[T]:
    if isinstance(future, StillBusy):
        return future
    if future.cancel():
        # No thread has come round to it, and this one has nothing else to do.
        return _done(job.do)
    try:
        future.exception(job.deadline.left_s if job.deadline else None)
    except FutureTimeout:
        if not future.done():
            abandon(future, future.source)
            return job.missed()
    return _done(future.result)


def _least_left_s(
    jobs: Sequence[Job[T]], waiting: Mapping[asyncio.Task[T], int]
) -> float | None:
    deadlines = [jobs[index].deadline for index in waiting.values()]
    return min((d.left_s for d in deadlines if d is not None), default=None)


def _result_of(task: asyncio.Task[T]) -> Outcome[T]:
    if task.cancelled():
        return RuntimeError("the search was cancelled from within")
    return _done(task.result)


def _dismiss(task: asyncio.Task[Any]) -> None:
    # A task's error that nobody asks for is a warning when it is collected.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    task.cancel()
