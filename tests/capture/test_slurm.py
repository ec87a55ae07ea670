"""An unmodified job that a real Slurm runs, captured by its number."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.capture.test_real_jobs import LIMIT_S, PLANTED_S, first_verdict

from loadpath import run_audit
from loadpath.capture.agent import Capture, capture_window

HERE = Path(__file__).parent
SCRIPT = """#!/bin/bash
#SBATCH --ntasks=2 --nodes=1 --output={folder}/job-%j.log
export KINETO_USE_DAEMON=1
srun {python} {program} --store {folder}/store --ranks 2 --fault rank --place 1 --ms {ms:g} --seconds 400
"""


@pytest.fixture
def slurm():
    """Environment of a Slurm that a script starts for us: ``SCRIPT start FOLDER``, ``SCRIPT stop FOLDER``."""
    named = os.environ.get("LOADPATH_SLURM")
    if named is None:
        pytest.skip("LOADPATH_SLURM names no script that starts a Slurm")
    # its daemons run as users of their own, which may not enter the folders of pytest
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        try:
            subprocess.run([named, "start", name], check=True, timeout=LIMIT_S)
            yield os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        finally:
            subprocess.run([named, "stop", name], check=False, timeout=LIMIT_S)


@contextlib.contextmanager
def submitted(slurm, environment, folder, python):
    script = folder / "job.sh"
    words = {"folder": folder, "python": python, "program": HERE / "training.py"}
    script.write_text(SCRIPT.format(**words, ms=1e3 * PLANTED_S))
    told = subprocess.run(
        ["sbatch", "--parsable", str(script)],  # noqa: S607 - where the user has it
        env=slurm | environment | {"SLURM_CONF": slurm["SLURM_CONF"]}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    number = int(told.stdout)
    try:
        yield number
    finally:
        subprocess.run(["scancel", str(number)], env=slurm, check=False)  # noqa: S607


@pytest.mark.usefixtures("the_socket_is_ours")
def test_a_slurm_job_is_captured_by_its_number(slurm, torch_python, job_environment, tmp_path):
    with submitted(slurm, job_environment, tmp_path, torch_python) as number:

        def trial(k):
            out = tmp_path / f"out-{k}"
            wanted = Capture(out, job=number, n_process=2, duration_s=4.0, patience_s=LIMIT_S)
            folder, heard = capture_window(wanted)
            traces = sorted(path.name for path in folder.iterdir())
            assert (traces, len(heard.told)) == (["rank0.json.gz", "rank1.json.gz"], 2)
            return run_audit(out, brief=False, cache=False).verdict

        verdict = first_verdict(trial)
    assert (verdict["kind"], verdict["ranks"]) == ("rank", [1])
    assert verdict["gain_s"] == pytest.approx(PLANTED_S, rel=0.25)
