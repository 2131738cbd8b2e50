"""Jobs at once: each with its deadline, failures as data, nothing left behind.

Sync and async take the same jobs and give the same outcomes; only the waiting differs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeAlias, TypeVar

from llama_index_mmrag.concurrency.deadlines import Deadline
from llama_index_mmrag.concurrency.retries import pause_before_retry
from llama_index_mmrag.concurrency.threads import (
    abandon,
    athread,
    in_thread,
    n_abandoned,
    working_for,
)
from llama_index_mmrag.events.spans import Span

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


Outcome: TypeAlias = "T | Exception"


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """Something to ask of a source: a search, or a lookup."""

    work: Callable[[], T]
    source: object
    """What is asked; its threads are counted together."""
    span: Span
    deadline: Deadline | None = None
    is_embedded: bool = False
    """Whether it is too short to be worth a thread."""
    n_retries: int = 0
    """How often it is repeated where that may help; it must only read."""
    awork: Callable[[], Awaitable[T]] | None = field(default=None, kw_only=True)
    """The same without holding a thread, where there is such a way."""

    @property
    def shares_caller(self) -> bool:
        """Whether the job is done where it was asked for, rather than beside it."""
        return self.is_embedded and self.deadline is None

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
            if self.awork is None:
                return await athread(self.do)
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
        pause_s = None
        if attempt <= self.n_retries:
            pause_s = pause_before_retry(error, attempt, self.deadline)
        if pause_s is None:
            raise error
        return pause_s

    def refusal(self) -> StillBusy | None:
        """Return why the job is not to be begun."""
        if self.shares_caller or n_abandoned(self.source) < MOST_ABANDONED:
            return None
        return StillBusy(
            f"still busy with {MOST_ABANDONED} earlier searches that missed their "
            f"deadline or were cancelled"
        )

    def missed(self) -> DeadlineMissed:
        """End the job's span; return the error of its deadline."""
        timeout_s = self.deadline.timeout_s if self.deadline else 0.0
        error = DeadlineMissed(f"no answer within {timeout_s:g} s")
        self.span.drop(error)
        return error


def run_all(jobs: Sequence[Job[T]]) -> list[Outcome[T]]:
    """Return what each job gave or raised, in the order of `jobs`.

    Remote jobs run in threads of their own; embedded ones meanwhile on this one.
    """
    here = [job.shares_caller for job in jobs]
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
    here = [job for job in jobs if job.shares_caller]
    beside = [job for job in jobs if not job.shares_caller]
    if not here:
        return await _aoutcomes(beside)
    embedded = athread(lambda: run_all(here))
    if not beside:
        return await embedded
    # Not gathered: cancelled, that ends with its first part, and the others go on.
    begun = asyncio.ensure_future(embedded)
    try:
        outcomes = await _aoutcomes(beside), await begun
    finally:
        begun.cancel()
    others, mine = map(iter, outcomes)
    return [next(mine if job.shares_caller else others) for job in jobs]


def _begun(job: Job[T]) -> Future[T] | StillBusy:
    return job.refusal() or in_thread(job.do, may_cancel=job.deadline is None)


def _done(work: Callable[[], T]) -> Outcome[T]:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - one job's failure is data
        return error


def _waited(job: Job[T], future: Future[T] | StillBusy) -> Outcome[T]:
    if isinstance(future, StillBusy):
        return future
    if future.cancel():
        # No thread has come round to it, and this one has nothing else to do.
        return _done(job.do)
    try:
        future.exception(job.deadline.left_s if job.deadline else None)
    except FutureTimeout:
        if not future.done():
            with working_for(job.source):
                abandon(future)
            return job.missed()
    return _done(future.result)


async def _aoutcomes(jobs: Sequence[Job[T]]) -> list[Outcome[T]]:
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
