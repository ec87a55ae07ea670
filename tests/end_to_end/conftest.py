import pytest
from tests.end_to_end.commands import run

from loadpath.testing import Cause, make_job, write_kineto, write_op_table


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """Op table of a job with one slow rank, its layout and its hosts beside it."""
    slow = Cause("rank", 0.2, ranks=(2,))
    job = make_job(3, pp=3, dp=2, steps=6, cause=slow)
    return write_op_table(job, tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="session")
def traces(tmp_path_factory):
    """Folder with one trace per rank of a job with one slow host."""
    late = Cause("host", 0.3, place="rank", mechanism="input", ranks=(1,))
    job = make_job(3, recorder="kineto", pp=1, dp=3, steps=12, microbatches=2, cause=late)
    return write_kineto(job, tmp_path_factory.mktemp("traces"))


@pytest.fixture(scope="session")
def audited(table, tmp_path_factory):
    """Folder in which the job was audited, and what the command said."""
    folder = tmp_path_factory.mktemp("audited")
    return folder, run("audit", table, "--out", "job", folder=folder)
