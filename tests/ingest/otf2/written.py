"""OTF2 traces written byte by byte: definitions, and what the threads of some ranks did."""

import struct

SEND, ISEND, RECV, IRECV, COLLECTIVE_END = 14, 15, 18, 19, 23
FORK, JOIN, TEAM_BEGIN, TEAM_END, ACQUIRE, RELEASE = 53, 54, 55, 56, 57, 58
TASK_CREATE, TASK_SWITCH, TASK_COMPLETE = 59, 60, 61
CREATE, BEGIN, WAIT, END = 62, 63, 64, 65
OPENMP = b"\x03"
BARRIER, TASK_WAIT = 16, 22
UNDEFINED = b"\xff"
TICKS = 1_000_000_000


class Bytes:
    """One file of records, in chunks."""

    def __init__(self, order="little", chunk=1 << 20):
        self.order, self.chunk = order, chunk
        self.done, self.open = b"", self._head()

    def _head(self):
        return b"\x03" + (b"B" if self.order == "little" else b"#") + bytes(16)

    def number(self, value):
        size = (value.bit_length() + 7) // 8
        return bytes([size]) + value.to_bytes(size, self.order)

    def whole(self, value):
        return value.to_bytes(8, self.order)

    def add(self, record):
        if len(self.open) + len(record) + 1 > self.chunk:
            self.done += self.open.ljust(self.chunk, b"\0")
            self.open = self._head()
        self.open += record

    def record(self, kind, *parts):
        body = b"".join(self.number(p) if isinstance(p, int) else p for p in parts)
        self.add(bytes([kind, len(body)]) + body)

    def at(self, tick):
        self.add(b"\x05" + self.whole(tick))

    def region(self, kind, number):
        self.add(bytes([kind]) + self.number(number))

    def close(self):
        return self.done + self.open + b"\x02"


class Trace:
    """A trace of `n_rank` ranks on two hosts; communicator 0 is all ranks, 1 the odd ones.

    Location ``rank + lane * n_rank`` is a thread of a rank; communicator ``2 + rank`` is its team.
    Without `mpi` there are processes, but no ranks and no communicators of theirs.
    """

    def __init__(
        self,
        n_rank=2,
        *,
        n_thread=1,
        order="little",
        chunk=1 << 20,
        ticks=TICKS,
        first=1000,
        mpi=True,
    ):
        self.n_rank, self.order, self.chunk, self.first = n_rank, order, chunk, first
        self.n_place = n_rank * n_thread
        self.threads = [Bytes(order, chunk) for _ in range(self.n_place)]
        self.local = [Bytes(order, chunk) for _ in range(self.n_place)]
        self.names = {}
        self.defined = Bytes(order, chunk)
        self.defined.record(5, ticks, first, 1 << 40)
        for number, text in enumerate(
            ("", "machine", "node", "host0", "host1", "thread", "world", "odd")
        ):
            self.defined.record(10, number, text.encode() + b"\0")
        self.defined.record(12, 0, 1, 1, UNDEFINED)
        for host in (1, 2):
            self.defined.record(12, host, 2 + host, 2, 0)
        for rank in range(n_rank):
            self.defined.record(13, rank, 5, b"\x01", 1 + (rank >= n_rank // 2))
        for place in range(self.n_place):
            self.defined.record(14, place, 5, b"\x01", 0, place % n_rank)
        groups = [(4, range(n_rank)), (5, range(n_rank)), (5, range(1, n_rank, 2))]
        for number, (kind, members) in enumerate(groups if mpi else []):
            listed = list(members)
            self.defined.record(18, number, 0, b"\0", len(listed), *listed, bytes([kind, 4]), 0)
        if mpi:
            self.defined.record(22, 0, 6, 1, UNDEFINED)
            self.defined.record(22, 1, 7, 2, UNDEFINED)
        for rank in range(n_rank):
            team = range(rank, self.n_place, n_rank)
            self.defined.record(18, 3 + rank, 0, b"\0", len(team), *team, b"\x05" + OPENMP, 0)
            self.defined.record(22, 2 + rank, 5, 3 + rank, UNDEFINED)

    def name(self, text):
        if text not in self.names:
            number = len(self.names)
            self.names[text] = number
            self.defined.record(10, 100 + number, text.encode() + b"\0")
            role = BARRIER if "barrier" in text else TASK_WAIT if "taskwait" in text else 0
            of_threads = bytes([role]) + (OPENMP if role else b"\x04")
            region = (number, 100 + number, 0, b"\0", UNDEFINED, 0, 0, 100 + number, of_threads, 0)
            self.defined.record(15, *region)
        return self.names[text]

    def enter(self, rank, tick, text):
        self.threads[rank].at(self.first + tick)
        self.threads[rank].region(12, self.name(text))

    def leave(self, rank, tick, text):
        self.threads[rank].at(self.first + tick)
        self.threads[rank].region(13, self.name(text))

    def event(self, rank, tick, kind, *parts):
        self.threads[rank].at(self.first + tick)
        self.threads[rank].record(kind, *parts)

    def call(self, rank, begin, end, text, kind=None, *parts):
        self.enter(rank, begin, text)
        if kind is not None:
            self.event(rank, begin + 1, kind, *parts)
        self.leave(rank, end, text)

    def write(self, folder):
        """Write all files; returns the anchor."""
        threads = folder / "traces"
        threads.mkdir(parents=True, exist_ok=True)
        number = "<QQBBQQ" if self.order == "little" else ">QQBBQQ"
        head = b"\x03" + (b"B" if self.order == "little" else b"#") + b"OTF2" + bytes(6)
        anchor = folder / "traces.otf2"
        anchor.write_bytes(
            head + struct.pack(number, self.chunk, self.chunk, 1, 1, self.n_place, 9)
        )
        (folder / "traces.def").write_bytes(self.defined.close())
        for place in range(self.n_place):
            (threads / f"{place}.evt").write_bytes(self.threads[place].close())
            (threads / f"{place}.def").write_bytes(self.local[place].close())
        return anchor


def stencil(n_rank=4, n_turn=20, slow=None):
    """Ranks that compute 1000 and exchange with the next rank; `slow` computes 1500."""
    trace = Trace(n_rank)
    now = [0] * n_rank
    for rank in range(n_rank):
        trace.enter(rank, 0, "main")
    for turn in range(n_turn):
        sent = []
        for rank in range(n_rank):
            span = (1500 if rank == slow else 1000) + (7 * turn + 3 * rank) % 11
            trace.call(rank, now[rank], now[rank] + span, "compute")
            now[rank] += span
            target = (rank + 1) % n_rank
            trace.call(rank, now[rank], now[rank] + 20, "MPI_Send", SEND, target, 0, 7, 64)
            sent.append(now[rank])
            now[rank] += 20
        for rank in range(n_rank):
            source = (rank - 1) % n_rank
            end = max(now[rank], sent[source]) + 40
            trace.enter(rank, now[rank], "MPI_Recv")
            trace.event(rank, end - 1, RECV, source, 0, 7, 64)
            trace.leave(rank, end, "MPI_Recv")
            now[rank] = end
    for rank in range(n_rank):
        trace.leave(rank, now[rank], "main")
    return trace


def team_solver(work, *, n_turn=12, n_rank=4, barrier=True, mpi=True):
    """Ranks that compute 500, fork a team whose threads take ``work(rank, lane, turn)``, and meet."""
    n_thread = 3
    trace, now = Trace(n_rank, n_thread=n_thread, mpi=mpi), [0] * n_rank
    for turn in range(n_turn):
        for rank in range(n_rank):
            spans = [work(rank, lane, turn) for lane in range(n_thread)]
            trace.enter(rank, now[rank], "iteration")
            now[rank] = _forked(trace, rank, now[rank], spans, barrier)
            trace.leave(rank, now[rank], "iteration")
        end = max(now) + 30
        for rank in range(n_rank if mpi else 0):
            trace.enter(rank, now[rank], "MPI_Allreduce")
            trace.event(rank, end - 1, COLLECTIVE_END, bytes([11]), 0, UNDEFINED, 8, 8)
            trace.leave(rank, end, "MPI_Allreduce")
        now = [end + 10] * n_rank
    return trace


def _forked(trace, rank, now, spans, barrier):
    """One parallel region; returns when the first thread goes on."""
    trace.call(rank, now, now + 500, "prepare")
    fork = now + 510
    trace.enter(rank, now + 500, "parallel")
    trace.event(rank, fork, FORK, OPENMP, len(spans))
    ends = [fork + 5 + 10 * lane + span for lane, span in enumerate(spans)]
    met = max(ends)
    for lane, end in enumerate(ends):
        place = rank + lane * trace.n_rank
        trace.event(place, fork + 5 + 10 * lane, TEAM_BEGIN, 2 + rank)
        trace.call(place, fork + 5 + 10 * lane, end, "relax")
        left = met + 2 + lane if barrier else end
        if barrier:
            trace.call(place, end, left, "implicit barrier")
        trace.event(place, left + 3, TEAM_END, 2 + rank)
    join = met + 20
    trace.event(rank, join, JOIN, OPENMP)
    trace.leave(rank, join + 5, "parallel")
    return join + 5


def task_solver(spans, *, n_rank=2, n_turn=4, mpi=True):
    """Ranks whose first thread creates three tasks and waits for them; the last two run elsewhere.

    ``spans(rank, turn)`` is what the three tasks take. The first thread begins its own after the others
    are created, 30 later; thread k begins task k 10 after its creation.
    """
    trace, now = Trace(n_rank, n_thread=3, mpi=mpi), [0] * n_rank
    for turn in range(n_turn):
        for rank in range(n_rank):
            trace.enter(rank, now[rank], "iteration")
            now[rank] = _with_tasks(trace, rank, now[rank], spans(rank, turn), 3 * turn)
            trace.leave(rank, now[rank], "iteration")
        end = max(now) + 30
        for rank in range(n_rank if mpi else 0):
            ended = (bytes([11]), 0, UNDEFINED, 8, 8)
            trace.call(rank, now[rank], end, "MPI_Allreduce", COLLECTIVE_END, *ended)
        now = [end + 10] * n_rank
    return trace


def _with_tasks(trace, rank, now, spans, first):
    """One parallel region with tasks; returns when the first thread goes on."""
    team, places = 2 + rank, [rank + lane * trace.n_rank for lane in range(3)]
    trace.call(rank, now, now + 200, "prepare")
    trace.enter(rank, now + 200, "parallel")
    now += 210
    trace.event(rank, now, FORK, OPENMP, 3)
    for place in places:
        trace.event(place, now + 5, TEAM_BEGIN, team)
    for place in places[1:]:
        trace.enter(place, now + 5, "implicit barrier")
    begins = [now + 130 + 10, now + 55 + 10, now + 80 + 10]
    created = [now + 105, now + 55, now + 80]
    for task in (1, 2, 0):
        trace.call(rank, created[task] - 20, created[task], "create")
        trace.event(rank, created[task], TASK_CREATE, team, 0, first + task + 1)
    trace.enter(rank, now + 110, "taskwait")
    ends = [begin + span for begin, span in zip(begins, spans, strict=True)]
    for task, place in enumerate(places):
        trace.event(place, begins[task], TASK_SWITCH, team, 0, first + task + 1)
        trace.call(place, begins[task], ends[task], "task")
        trace.event(place, ends[task], TASK_COMPLETE, team, 0, first + task + 1)
        trace.event(place, ends[task], TASK_SWITCH, team, task, 0)
    done = max(ends) + 7
    trace.leave(rank, done, "taskwait")
    trace.enter(rank, done, "implicit barrier")
    for lane, place in enumerate(places):
        trace.leave(place, done + 10 + lane, "implicit barrier")
        trace.event(place, done + 15 + lane, TEAM_END, team)
    trace.event(rank, done + 30, JOIN, OPENMP)
    trace.leave(rank, done + 35, "parallel")
    return done + 35
