"""The coupling matrix of an audit, as a sparse matrix."""

import shutil

import numpy as np
import polars as pl
import pytest
import scipy.sparse

from loadpath.audit import run_audit
from loadpath.errors import UsageError
from loadpath.testing import make_job, write_op_table


@pytest.mark.parametrize("by", ["rank", "stage", "replica", "communicator"])
@pytest.mark.parametrize("transitive", [True, False])
def test_the_matrix_sums_to_its_table(audited, by, transitive):
    matrix = audited.coupling(by, transitive=transitive)
    column = "transitive_s" if transitive else "direct_s"
    assert matrix.seconds.sum() == pytest.approx(audited.table("coupling")[column].sum())
    assert (matrix.seconds > 0).all()


def test_entries_are_those_of_the_table(audited):
    matrix = audited.coupling("rank")
    dense = scipy.sparse.coo_array(
        (matrix.seconds, (matrix.row, matrix.column)), shape=matrix.shape
    ).toarray()
    wanted = audited.table("coupling").sort("cause", "waiter")["transitive_s"].to_numpy()
    assert dense.ravel() == pytest.approx(wanted)


def test_most_waiting_is_caused_by_the_planted_rank(audited):
    matrix = audited.coupling("rank")
    by_cause = np.bincount(matrix.row, matrix.seconds, len(matrix.cause))
    assert matrix.cause[int(by_cause.argmax())] == "2"
    assert by_cause.max() > 0.8 * by_cause.sum()


def test_each_pair_is_there_once(audited):
    matrix = audited.coupling("stage")
    place = matrix.row * matrix.shape[1] + matrix.column
    assert (np.diff(place) > 0).all()


def test_tables_are_written_as_arrow(audited, tmp_path):
    audited.table("coupling").write_ipc(tmp_path / "coupling.arrow")
    assert pl.read_ipc(tmp_path / "coupling.arrow").equals(audited.table("coupling"))


def test_an_unknown_division_is_an_error(table, tmp_path):
    audited = run_audit(shutil.copy(table, tmp_path), brief=False)  # no hosts beside it
    with pytest.raises(UsageError, match="Choose one of rank, stage"):
        audited.coupling("planet")
    with pytest.raises(UsageError, match="--hosts"):
        audited.coupling("host")


def test_no_matrix_is_given_where_nothing_is_concluded(tmp_path):
    path = write_op_table(make_job(3, pp=2, dp=1, steps=2), tmp_path)
    refused = run_audit(path, gate=1e-9)
    assert refused.verdict["kind"] == "not_assessable"
    with pytest.raises(UsageError, match="No conclusion"):
        refused.coupling()
