"""The machine: an event loop, streams that run in order, and communications that meet."""

import heapq
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

__all__ = ["Loop", "Meeting", "Stream", "Thread", "Work"]

GAP_NS = 900
"""Between two kernels of one stream."""


class Loop:
    """Calls functions in order of time; equal times in order of entry."""

    def __init__(self) -> None:
        self.now = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._n = 0

    def at(self, time: int, call: Callable[[], None]) -> None:
        """Call something at a time that has not passed."""
        self._n += 1
        heapq.heappush(self._heap, (max(time, self.now), self._n, call))

    def run(self) -> None:
        """Go on until nothing is left to do."""
        while self._heap:
            self.now, _, call = heapq.heappop(self._heap)
            call()


@dataclass(slots=True)
class Meeting:
    """One communication of several members; each holds its stream until the last has begun."""

    n_member: int
    transfer_ns: int
    waiting: list[tuple["Stream", "Work"]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Work:
    """What a stream runs: a kernel, a member of a meeting, or a wait for another work's end."""

    kind: str
    arrival: int
    length: int = 0
    meeting: Meeting | None = None
    awaited: "Work | None" = None
    tail_ns: int = 0
    start: int = -1
    end: int = -1
    listeners: list[Callable[[], None]] = field(default_factory=list)


class Stream:
    """Device queue: first come, first served."""

    def __init__(self, loop: Loop, number: int) -> None:
        self.loop, self.number = loop, number
        self.queue: deque[Work] = deque()
        self.free = 0
        self.busy = False
        self.last: Work | None = None

    def push(self, work: Work) -> None:
        """Enter work; its arrival never lies before that of what was entered before."""
        if self.last is not None:
            work.arrival = max(work.arrival, self.last.arrival)
        self.last = work
        self.queue.append(work)
        if len(self.queue) == 1 and not self.busy:
            self._look(work.arrival)

    def _look(self, time: int) -> None:
        self.busy = True
        self.loop.at(time, self._serve)

    def _serve(self) -> None:
        work = self.queue[0]
        if work.awaited is not None and work.awaited.end < 0:
            work.awaited.listeners.append(self._serve)
            return
        if work.kind == "wait":
            work.start = self.loop.now
            self._finish(work, self.loop.now)
            return
        start = max(self.loop.now, self.free + GAP_NS)
        if start > self.loop.now:
            self.loop.at(start, self._serve)
            return
        work.start = start
        if work.meeting is None:
            self.loop.at(start + work.length, lambda: self._finish(work, self.loop.now))
        else:
            self._meet(work, work.meeting)

    def _meet(self, work: Work, meeting: Meeting) -> None:
        meeting.waiting.append((self, work))
        if len(meeting.waiting) < meeting.n_member:
            return
        end = self.loop.now + meeting.transfer_ns
        for stream, member in meeting.waiting:
            self.loop.at(end + member.tail_ns, _finisher(stream, member))

    def _finish(self, work: Work, end: int) -> None:
        work.end = end
        if work.kind != "wait":
            self.free = end
        self.queue.popleft()
        self.busy = False
        for listener in work.listeners:
            self.loop.at(end, listener)
        work.listeners = []
        if self.queue:
            self._look(max(end, self.queue[0].arrival))


def _finisher(stream: Stream, work: Work) -> Callable[[], None]:
    return lambda: stream._finish(work, stream.loop.now)  # noqa: SLF001 - the machine's own part


class Thread:
    """Host thread: a generator that runs ahead on its own clock and yields works to wait for."""

    def __init__(self, loop: Loop, time: int, program: Generator[list[Work], int, None]) -> None:
        self.loop, self.program = loop, program
        self.awaited: list[Work] = []
        loop.at(time, lambda: self._go(None))

    def _go(self, value: int | None) -> None:
        try:
            self.awaited = next(self.program) if value is None else self.program.send(value)
        except StopIteration:
            return
        self._check()

    def _check(self) -> None:
        open_ones = [work for work in self.awaited if work.end < 0]
        if open_ones:
            open_ones[0].listeners.append(self._check)
            return
        self._go(max((work.end for work in self.awaited), default=0))
