"""What a forecast of a design reads: the design, and what was measured of it or of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from msgspec.structs import asdict, replace

from loadpath.audit.forecast_known import audit_of, inputs_of
from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.decode.regular import check_regular
from loadpath.errors import InputError, UsageError, first_line
from loadpath.forecast.calibration import Calibration, MeasuredStep
from loadpath.forecast.design import Design
from loadpath.forecast.design_checks import check_design
from loadpath.forecast.design_file import parse_design
from loadpath.forecast.measured_classes import ClassRates, calibrate_classes, class_times
from loadpath.forecast.measured_links import LinkRates, calibrate_links
from loadpath.forecast.measured_steps import calibrate_runs, designs_of_runs, recentred
from loadpath.forecast.priors import Prior
from loadpath.forecast.step_point import design_priors
from loadpath.ingest.nccl_tests import read_nccl_tests
from loadpath.ingest.run_table import read_runs

__all__ = ["Calibrated", "calibrated", "held_runs", "is_runs", "read_design"]

LONGEST_DESIGN = 1 << 20
"""Bytes of a design file, at most."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A design with what was measured.

    Attributes
    ----------
    design : Design
        With the measured priors.
    priors : dict of str to Prior
        What stands for what it leaves open.
    runs : tuple of MeasuredStep
        Runs that set priors.
    calibration : Calibration or None
        What they set.
    links : LinkRates or None
        What measured collectives set.
    classes : ClassRates or None
        What a record of the design set.
    inputs : tuple of mapping
        Files of that record.
    """

    design: Design
    priors: dict[str, Prior]
    runs: tuple[MeasuredStep, ...] = ()
    calibration: Calibration | None = None
    links: LinkRates | None = None
    classes: ClassRates | None = None
    inputs: tuple[Mapping[str, Any], ...] = ()

    def told(self) -> dict[str, Any]:
        """Say what else than runs was measured, for the document.

        Returns
        -------
        dict
            ``collectives`` and ``record``, null where there are none.
        """
        links = None
        if self.links is not None:
            names = ("n_point", "error_ratio", "bulk_error_ratio", "untold")
            links = {name: getattr(self.links, name) for name in names}
            links |= {"priors": {n: p.value for n, p in self.links.priors.items()}}
        return {
            "collectives": links,
            "record": None if self.classes is None else asdict(self.classes),
        }


def read_design(path: Path) -> Design:
    """Read a design file.

    Parameters
    ----------
    path : Path
        TOML.

    Returns
    -------
    Design
        Checked.

    Raises
    ------
    InputError
        If it cannot be read, or names all that is wrong with it.
    """
    try:
        raw = check_regular(path).read_bytes()
        if len(raw) > LONGEST_DESIGN:
            raise InputError(
                path.name, f"{len(raw):,} bytes", "A design is TOML of a few kilobytes."
            )
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        said = f"cannot be read ({first_line(error)})"
        raise InputError(path.name, said, "Give a TOML file in UTF-8.") from error
    return parse_design(text, path.name)


def calibrated(design: Design, settings: ForecastSettings) -> Calibrated:
    """Set priors by what was measured: collectives, then a record, then runs.

    Parameters
    ----------
    design : Design
        As it was read.
    settings : ForecastSettings
        Options.

    Returns
    -------
    Calibrated
        Without any of them, the design as it is.

    Raises
    ------
    InputError
        If a file cannot be read, or is of another design.
    UsageError
        If the design cannot have the asked width or stages, or nothing measured tells of its parts.
    """
    found = _reshaped(design, settings)
    if settings.collectives:
        found = _with_links(found, settings.collectives)
    if settings.calibrate is None:
        return found
    if is_runs(settings.calibrate):
        return _with_runs(found, settings.calibrate)
    return _with_record(found, settings.calibrate, settings)


def is_runs(path: Path | None) -> bool:
    """Say whether what calibrates is a table of runs.

    Parameters
    ----------
    path : Path or None
        What the user points at.

    Returns
    -------
    bool
        By its ending, ``.csv``; all else is an audit folder or a recording.
    """
    return path is not None and path.suffix.lower() == ".csv" and not path.is_dir()


def _reshaped(design: Design, settings: ForecastSettings) -> Calibrated:
    asked = {"tensor": settings.tensor, "pipeline": settings.pipeline}
    told = {name: value for name, value in asked.items() if value is not None}
    if told and design.model is None:
        words = ", ".join(f"--{name}" for name in told)
        raise UsageError(
            f"{words}: design {design.name!r} has no model to share out. Leave it out."
        )
    if told:
        design = replace(design, parallelism=replace(design.parallelism, **told))
        wrong = "; ".join(f"{'.'.join(map(str, p.path))} {p.what}" for p in check_design(design))
        if wrong:
            raise UsageError(f"the design cannot be so: {wrong}.")
    return Calibrated(design, design_priors(design))


def _with_links(found: Calibrated, paths: tuple[Path, ...]) -> Calibrated:
    points = pl.concat([read_nccl_tests(path).points for path in paths])
    links = calibrate_links(found.design, points)
    values = {name: prior.value for name, prior in links.priors.items()}
    design = replace(found.design, priors={**found.design.priors, **values})
    return Calibrated(design, {**found.priors, **links.priors}, links=links)


def _with_record(found: Calibrated, path: Path, settings: ForecastSettings) -> Calibrated:
    """Set rates by the classes of work of a record of this design."""
    audit = audit_of(path, settings.layout)
    classes = calibrate_classes(found.design, class_times(audit.job))
    values = classes.priors
    reached = values.get("sustained_ratio", 0.0) * found.priors["gemm_ratio"].value
    if reached > 1:
        raise UsageError(
            f"{path.name} shows products at {reached:.1f} times the peak of the design's device: it is no "
            "record of this design (another batch, another model, or forward passes alone)."
        )
    if found.links is not None:
        values = {name: value for name, value in values.items() if name not in found.links.priors}
    design = replace(found.design, priors={**found.design.priors, **values})
    priors = recentred(found.priors, values, "set by the classes of work of a record")
    inputs = tuple(inputs_of(path, audit))
    return Calibrated(design, priors, links=found.links, classes=classes, inputs=inputs)


def _with_runs(found: Calibrated, path: Path) -> Calibrated:
    runs = designs_of_runs(found.design, read_runs(path), path.name)
    calibration = calibrate_runs(runs)
    values = calibration.priors
    design = replace(found.design, priors={**found.design.priors, **values})
    priors = recentred(found.priors, values, "set by measured runs")
    return Calibrated(design, priors, tuple(runs), calibration, found.links)


def held_runs(design: Design, settings: ForecastSettings) -> list[MeasuredStep]:
    """Read the runs that the forecast is held against.

    Parameters
    ----------
    design : Design
        A sound design.
    settings : ForecastSettings
        Options.

    Returns
    -------
    list of MeasuredStep
        None without ``points``.
    """
    if settings.points is None:
        return []
    return designs_of_runs(design, read_runs(settings.points), settings.points.name)
