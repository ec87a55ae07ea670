"""OTF2 traces written byte by byte: definitions, and what the threads of some ranks did."""

import struct

SEND, ISEND, RECV, IRECV, COLLECTIVE_END = 14, 15, 18, 19, 23
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
    """A trace of `n_rank` ranks on two hosts; communicator 0 is all ranks, 1 the odd ones."""

    def __init__(self, n_rank=2, *, order="little", chunk=1 << 20, ticks=TICKS, first=1000):
        self.n_rank, self.order, self.chunk, self.first = n_rank, order, chunk, first
        self.threads = [Bytes(order, chunk) for _ in range(n_rank)]
        self.local = [Bytes(order, chunk) for _ in range(n_rank)]
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
            self.defined.record(14, rank, 5, b"\x01", 0, rank)
        groups = [(4, range(n_rank)), (5, range(n_rank)), (5, range(1, n_rank, 2))]
        for number, (kind, members) in enumerate(groups):
            listed = list(members)
            self.defined.record(18, number, 0, b"\0", len(listed), *listed, bytes([kind, 4]), 0)
        self.defined.record(22, 0, 6, 1, UNDEFINED)
        self.defined.record(22, 1, 7, 2, UNDEFINED)

    def name(self, text):
        if text not in self.names:
            number = len(self.names)
            self.names[text] = number
            self.defined.record(10, 100 + number, text.encode() + b"\0")
            role = (number, 100 + number, 0, b"\0", UNDEFINED, 0, 0, 100 + number, b"\0\x04", 0)
            self.defined.record(15, *role)
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
        anchor.write_bytes(head + struct.pack(number, self.chunk, self.chunk, 1, 1, self.n_rank, 9))
        (folder / "traces.def").write_bytes(self.defined.close())
        for rank in range(self.n_rank):
            (threads / f"{rank}.evt").write_bytes(self.threads[rank].close())
            (threads / f"{rank}.def").write_bytes(self.local[rank].close())
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
