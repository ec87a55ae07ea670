"""Small coupled graphs for tests, drawn by hand or at random."""

from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np

from loadpath.couple.graph import Coupling, CouplingGraph, EdgeKind, build_graph


def couple(n_op, edges=(), meetings=(), *, begins=None, ends=None, releases=()) -> CouplingGraph:
    """Return a graph of ops 0 ... n_op - 1.

    `edges` are (source, target) or (source, target, kind), `meetings` lists of ops that all wait
    for each other; `begins` and `ends` are (op, step), by default the ops without predecessors
    and without successors, all in step 0; `releases` are (op, ns).
    """
    full = [edge if len(edge) == 3 else (*edge, EdgeKind.DATA) for edge in edges]
    sources, targets = {edge[0] for edge in full}, {edge[1] for edge in full}
    if begins is None:
        begins = [(op, 0) for op in range(n_op) if op not in targets]
    if ends is None:
        ends = [(op, 0) for op in range(n_op) if op not in sources]
    members = [(op, k) for k, ops in enumerate(meetings) for op in ops]
    return build_graph(
        Coupling(
            n_op,
            _column(full, 0, np.int32),
            _column(full, 1, np.int32),
            _column(full, 2, np.uint8),
            _column(members, 0, np.int32),
            _column(members, 1, np.int32),
            np.ones(len(members), bool),
            np.ones(len(members), bool),
            _column(begins, 0, np.int32),
            _column(begins, 1, np.int64),
            _column(ends, 0, np.int32),
            _column(ends, 1, np.int64),
            _column(releases, 0, np.int32),
            _column(releases, 1, np.int64),
        )
    )


def _column(rows, k, dtype):
    return np.array([row[k] for row in rows], dtype)


@dataclass(frozen=True)
class Job:
    """Couplings of a small job; op ids are an order in which they can be evaluated by turns."""

    n_rank: int
    n_turn: int
    edges: tuple[tuple[int, int], ...]
    meetings: tuple[tuple[int, ...], ...]
    n_step: int

    @property
    def n_op(self):
        return self.n_rank * self.n_turn

    def graph(self, *, extra=(), label=None):
        """Return the graph of the job, with extra edges or with op i called label[i]."""
        name = range(self.n_op) if label is None else label
        turns = [range(t * self.n_rank, (t + 1) * self.n_rank) for t in range(self.n_turn)]
        firsts = np.linspace(0, self.n_turn, self.n_step, endpoint=False).astype(int)
        lasts = [*(firsts[1:] - 1), self.n_turn - 1]
        return couple(
            self.n_op,
            [(name[a], name[b]) for a, b in (*self.edges, *extra)],
            [[name[op] for op in ops] for ops in self.meetings],
            begins=[(name[op], k) for k, t in enumerate(firsts) for op in turns[t]],
            ends=[(name[op], k) for k, t in enumerate(lasts) for op in turns[t]],
        )

    def times(self, work, lag):
        """Return start, ready and end of each op by plain recursion over ops, not nodes."""
        start, ready, end = ([0] * self.n_op for _ in range(3))
        for turn in range(self.n_turn):
            ops = range(turn * self.n_rank, (turn + 1) * self.n_rank)
            for op in ops:
                start[op] = max((end[a] for a, b in self.edges if b == op), default=0) + lag[op]
            for op in ops:
                met = next((group for group in self.meetings if op in group), (op,))
                ready[op] = max(start[member] for member in met)
                end[op] = ready[op] + work[op]
        return start, ready, end


@st.composite
def jobs(draw, max_rank=4, max_turn=6):
    """Return jobs of ranks that run a chain of ops each, meet, and wait for earlier ops of others."""
    n_rank = draw(st.integers(1, max_rank))
    n_turn = draw(st.integers(1, max_turn))
    n_op = n_rank * n_turn
    edges = {(op, op + n_rank) for op in range(n_op - n_rank)}
    pair = st.tuples(st.integers(0, n_op - 1), st.integers(0, n_op - 1))
    for a, b in draw(st.lists(pair, max_size=2 * n_op)):
        if a // n_rank < b // n_rank:
            edges.add((a, b))
    meetings = []
    for turn in range(n_turn):
        ranks = draw(st.sets(st.integers(0, n_rank - 1), max_size=n_rank))
        if len(ranks) > 1:
            meetings.append(tuple(turn * n_rank + rank for rank in sorted(ranks)))
    return Job(
        n_rank, n_turn, tuple(sorted(edges)), tuple(meetings), draw(st.integers(1, min(3, n_turn)))
    )


def durations(n_op, high=1000):
    """Return as many durations, in ns, as there are ops."""
    return st.lists(st.integers(0, high), min_size=n_op, max_size=n_op).map(np.array)
