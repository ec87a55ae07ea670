"""Traces under a wrong rank are caught before anything is concluded across ranks."""

import gzip
import json

import pytest

from loadpath.couple.trace import couple_trace
from loadpath.ingest.kineto import read_kineto
from loadpath.testing import make_job, write_kineto


@pytest.fixture
def job(tmp_path):
    """Write a job, with the traces of some ranks taken from others."""

    def write(taken, **shape):
        job = make_job(5, recorder="kineto", steps=3, microbatches=2, **shape)
        folder = write_kineto(job, tmp_path)
        held = {path.name: gzip.decompress(path.read_bytes()) for path in folder.iterdir()}
        for rank, source in taken.items():
            trace = json.loads(held[f"rank{source}.json.gz"])
            trace["distributedInfo"]["rank"] = rank
            packed = gzip.compress(json.dumps(trace).encode())
            (folder / f"rank{rank}.json.gz").write_bytes(packed)
        return couple_trace(read_kineto([folder]))

    return write


def wrong(job):
    return " ".join(job.caveat.filter(code="wrong_ranks")["text"])


def test_a_copied_trace_is_refused_across_ranks(job):
    copied = job({1: 0}, pp=1, dp=3)
    assert "rank 1 holds the recording of rank 0" in wrong(copied)
    assert not copied.instance["matched"].any()


def test_an_exchanged_trace_names_groups_that_its_rank_is_not_in(job):
    assert "rank 2 in group '100' of ranks [0, 1]" in wrong(job({0: 2, 2: 0}, pp=1, tp=2, dp=2))


def test_a_trace_under_the_rank_of_its_peer_sends_to_itself(job):
    assert "rank 1 sends to itself" in wrong(job({1: 0}, pp=2, dp=1))


def test_ranks_in_their_places_are_not_doubted(job):
    sound = job({}, pp=2, tp=2, dp=1)
    assert not wrong(sound)
    assert sound.instance["matched"].all()
