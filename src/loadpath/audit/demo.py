"""The demonstration: an audit of the recording that ships with the package, or of a real job with a fault."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loadpath.capture.demo_job
from loadpath.audit.pipeline import run_audit
from loadpath.audit.result import Audit
from loadpath.audit.settings import Progress
from loadpath.capture.demo_job import FAULTS
from loadpath.errors import UsageError

__all__ = ["FAULTS", "Demonstration", "agrees", "run_demo", "shipped_recording"]

PACKAGE = Path(loadpath.capture.demo_job.__file__).parents[1]
NAME = "ddp-rank"
"""A rank of four computes 120 ms longer, as examples/README.md says."""
BLAMELESS = ("none", "jitter", "absorbed")
KINDS = {"rank": "rank", "host": "host", "link": "link"}
TOLERANCE_RATIO = 0.1
"""Predicted gain and what the fault cost may differ by this; a policy."""
TIME_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An audit, and what was planted.

    Attributes
    ----------
    audit : Audit
        Of the recording.
    truth : mapping
        ``fault, ranks, healthy_step_s, faulty_step_s, lost_s`` (mean of all recorded steps), ``step_s``;
        empty for the shipped recording.
    """

    audit: Audit
    truth: Mapping[str, Any]


def shipped_recording() -> Path:
    """Find the recording that comes with the package.

    Returns
    -------
    Path
        Folder of traces: in an installed package its own, in a checkout that of ``examples``.
    """
    inside = PACKAGE / "recordings" / NAME
    return inside if inside.is_dir() else PACKAGE.parents[1] / "examples" / NAME


def run_demo(  # noqa: PLR0913 - the options of one command
    out: Path,
    fault: str | None = None,
    *,
    ranks: int = 4,
    place: int = 1,
    python: str = "",
    force: bool = False,
    progress: Progress = lambda _: None,
) -> Demonstration:
    """Audit the shipped recording, or run, record and audit a job with a planted fault.

    Parameters
    ----------
    out : Path
        Gets the audit; with a fault also the recording, as ``recording``, and the audit as ``audit``.
    fault : {"none", "rank", "host", "link"}, optional
        What is planted; the shipped recording is audited if left out.
    ranks : int
        Processes of the job.
    place : int
        Rank that carries the fault, or the lower end of the link.
    python : str
        Interpreter that has PyTorch; this one if left out.
    force : bool
        Replace an audit that is there.
    progress : callable of str
        Told what is being done.

    Returns
    -------
    Demonstration
        The audit, and the truth.

    Raises
    ------
    UsageError
        If the fault is unknown or does not fit the ranks, or the job cannot be run.
    """
    if fault is None:
        return Demonstration(
            run_audit(shipped_recording(), out=out, force=force, progress=progress), {}
        )
    _check(fault, ranks, place)
    progress(f"running {ranks} processes")
    _run_job(out, fault, (ranks, place), python or sys.executable)
    truth = json.loads((out / "truth.json").read_text(encoding="utf-8"))
    source = out / "recording"
    audit = run_audit(source, out=out / "audit", force=force, cache=False, progress=progress)
    return Demonstration(audit, truth)


def agrees(shown: Demonstration) -> bool:
    """Say whether the verdict is what was planted, and the gain what it cost.

    Parameters
    ----------
    shown : Demonstration
        Of a job with a planted fault, or none.

    Returns
    -------
    bool
        Kind and ranks are right, and the milliseconds within 10 %; without a fault, nobody is blamed.
    """
    verdict, truth = shown.audit.verdict, shown.truth
    if truth["fault"] == "none":
        return verdict["kind"] in BLAMELESS
    named = verdict["link"] if truth["fault"] == "link" else verdict["ranks"]
    is_right = verdict["kind"] == KINDS[truth["fault"]] and sorted(named or ()) == truth["ranks"]
    off = abs(float(verdict["gain_s"] or 0) - truth["lost_s"])
    return bool(is_right and off <= TOLERANCE_RATIO * truth["lost_s"])


def _check(fault: str, ranks: int, place: int) -> None:
    problems = []
    if fault not in FAULTS:
        problems.append(f"unknown fault {fault!r}: use one of {', '.join(FAULTS)}")
    least = 3 if fault == "link" else 2
    if not least <= ranks <= 64:
        problems.append(f"{ranks} ranks: give {least} to 64, so that {fault} has its like")
    if not 0 <= place < ranks:
        problems.append(f"place {place} is no rank of {ranks}")
    if problems:
        raise UsageError(f"{'; '.join(problems)}. See loadpath demo --help.")


def _run_job(out: Path, fault: str, shape: tuple[int, int], python: str) -> None:
    """Run the job in processes of its own; what it says is shown only if it fails."""
    words = [python, "-m", "loadpath.capture.demo_job", str(out), "--fault", fault,
             "--ranks", str(shape[0]), "--place", str(shape[1])]  # fmt: skip
    known = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(  # noqa: S603 - our own module, no shell
            words,
            env=os.environ | {"PYTHONPATH": known},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"the job cannot be run with {python} ({error}).") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UsageError(
            f"the job ended with {done.returncode} ({last}). It needs PyTorch: install it, or name "
            "an interpreter that has it with --python."
        )
