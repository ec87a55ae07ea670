"""One audited op table, shared by the tests of the audit."""

from pathlib import Path

import pytest

from loadpath.audit import Audit, run_audit
from loadpath.testing import Cause, make_job, write_op_table


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    """Op table of 8 ranks in two stages; rank 2 makes the step 20 % longer."""
    cause = Cause("rank", 0.2, ranks=(2,))
    job = make_job(3, cause=cause, pp=2, dp=4, steps=3, microbatches=4)
    path: Path = write_op_table(job, tmp_path_factory.mktemp("record"))
    return path


@pytest.fixture(scope="session")
def audited(table) -> Audit:
    return run_audit(table, rate=2.5, work_per_step=4e6)


@pytest.fixture(scope="session")
def written(table, tmp_path_factory) -> Path:
    """Folder of an audit; tests that change it copy it first."""
    folder: Path = tmp_path_factory.mktemp("out") / "audit"
    run_audit(table, out=folder, brief=False)
    return folder
