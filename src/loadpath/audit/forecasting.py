"""The order of a forecast: read a design and runs, replay it over sizes, write what follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import polars as pl

from loadpath.audit.design_answers import check_answers, layouts_of, serving_of
from loadpath.audit.design_inputs import Calibrated, calibrated, held_runs, is_runs, read_design
from loadpath.audit.folder import check_target, document_bytes, write_folder, write_table
from loadpath.audit.forecast_known import forecast_audit, forecast_runs, is_design
from loadpath.audit.forecast_options import refuse_others
from loadpath.audit.forecast_settings import ForecastSettings, Options, settings_of
from loadpath.audit.provenance import digest_of, provenance_of
from loadpath.audit.settings import Progress
from loadpath.errors import UsageError
from loadpath.forecast.advice import Advice, advise
from loadpath.forecast.design import Design
from loadpath.forecast.document import Asked, describe
from loadpath.forecast.held_out import held_against
from loadpath.forecast.inversion import Limits
from loadpath.forecast.measured_steps import (
    measured_of,
    runs_of,
)
from loadpath.forecast.options import LEVEL
from loadpath.forecast.outlook import Outlook, look_ahead
from loadpath.forecast.sizes import (
    Goal,
    Skipped,
    default_sizes,
    goal_of,
    parse_sizes,
    same_work,
    split_sizes,
)

__all__ = [
    "Forecast",
    "ForecastSettings",
    "foresee",
    "read_design",
    "run_forecast",
]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A finished forecast.

    Attributes
    ----------
    document : dict
        Content of ``forecast.json``.
    tables : mapping of str to polars.DataFrame
        Result tables by name.
    """

    document: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame]

    def __repr__(self) -> str:
        """Name the design and its sizes; documents and tables are long."""
        sizes = [point["n"] for point in self.document["points"]]
        return f"Forecast({self.document['design']['name']}: {sizes[0]:,} to {sizes[-1]:,})"

    def table(self, name: str) -> pl.DataFrame:
        """Return a table by name.

        Parameters
        ----------
        name : str
            Such as ``curve_point``; see docs/formats/forecast.md.

        Returns
        -------
        polars.DataFrame
            The table.

        Raises
        ------
        UsageError
            If there is no such table.
        """
        if name not in self.tables:
            raise UsageError(f"no table {name!r}. There are: {', '.join(sorted(self.tables))}.")
        return self.tables[name]

    def figure(self, name: str) -> Any:
        """Draw one figure of the briefing.

        Parameters
        ----------
        name : str
            ``cost``, ``shares``, ``step`` or ``levers``.

        Returns
        -------
        loadpath.brief.Figure
            Shows itself in a notebook; ``.svg`` is the picture.

        Raises
        ------
        UsageError
            If there is no such figure.
        """
        from loadpath.brief import forecast_figure  # noqa: PLC0415 - drawing libraries load when used

        return forecast_figure(name, self.document, self.tables)


def run_forecast(
    source: str | Path | None = None,
    *,
    out: str | Path | None = None,
    force: bool = False,
    progress: Progress = lambda _: None,
    **options: Unpack[Options],
) -> Forecast:
    """Forecast a design, an audited job or measured runs over sizes.

    Parameters
    ----------
    source : str or Path, optional
        Design file (TOML), audit folder, or recording of a job of microbatches; without it the runs of
        ``points`` are all that is known.
    out : str or Path, optional
        Folder to write; nothing is written if left out.
    force : bool
        Replace a forecast that is there.
    progress : callable of str
        Told what begins.
    **options
        Fields of `ForecastSettings`; sizes also as a list of numbers.

    Returns
    -------
    Forecast
        Document and tables.

    Raises
    ------
    InputError
        If design, audit or runs cannot be read, or are not sound.
    UsageError
        If an option is wrong, or `out` is there and `force` is not set.
    """  # numpydoc ignore=PR01,PR02
    settings = settings_of(options)
    if out is not None:
        check_target(Path(out), force=force, kind="forecast")
    document, tables = _forecast(None if source is None else Path(source), settings, progress)
    done = Forecast(document, tables)
    if out is not None:
        from loadpath.brief import render_forecast  # noqa: PLC0415 - not needed without it

        page = render_forecast(document, tables)

        def write(folder: Path) -> None:
            for name, table in tables.items():
                write_table(folder / f"{name}.parquet", table)
            (folder / "forecast.json").write_bytes(document_bytes(document))
            (folder / "briefing.html").write_text(page, encoding="utf-8")

        write_folder(Path(out), write, force=force, kind="forecast")
    return done


def foresee(
    design: Design, settings: ForecastSettings, progress: Progress = lambda _: None
) -> tuple[Asked, Outlook, Advice, Calibrated]:
    """Replay a design over sizes and work out all that is told.

    Parameters
    ----------
    design : Design
        A sound design.
    settings : ForecastSettings
        Options.
    progress : callable of str
        Told what begins.

    Returns
    -------
    Asked, Outlook, Advice
        What `describe` takes.
    Calibrated
        The design with what was measured.

    Raises
    ------
    InputError
        If what was measured cannot be read, or is none of this design.
    UsageError
        If the design can be at none of the sizes.
    """
    goal = settings.goal or goal_of(design)
    found = calibrated(design, settings)
    design = found.design
    designs, skipped = _sized(design, settings, goal)
    held = held_runs(design, settings)
    outlook = look_ahead(
        tuple(designs.values()), found.priors, design,
        worlds=(settings.seed, settings.worlds), measured=measured_of(found.runs, found.calibration),
        held=[run.design for run in held], progress=progress,
    )  # fmt: skip
    progress("weighing what follows")
    limits = Limits(value=settings.value, budget=settings.budget)
    now = _nearest(tuple(designs), design.cluster.accelerators)
    fitted = runs_of(found.runs or held) if found.runs or held else None
    advice = advise(outlook, now, limits, runs=fitted, seed=settings.seed)
    asked = Asked(
        design, goal, tuple(skipped), now, settings.seed, settings.worlds, limits,
        held_against(
            held, outlook, advice.baselines,
            on_curve=lambda run: same_work(design, run, goal), level=LEVEL,
        ),
        baselines_measured=fitted is not None,
    )  # fmt: skip
    return asked, outlook, advice, found


def _sized(
    design: Design, settings: ForecastSettings, goal: Goal
) -> tuple[dict[int, Design], list[Skipped]]:
    sizes = parse_sizes(settings.sizes) if settings.sizes else default_sizes(design)
    designs, skipped = split_sizes(design, sizes, goal)
    if not designs:
        told = "; ".join(f"{one.n:,}: {one.why}" for one in skipped[:4])
        raise UsageError(f"the design can be at none of the sizes ({told}). Give others: --sizes.")
    return designs, skipped


def _forecast(
    path: Path | None, settings: ForecastSettings, progress: Progress
) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """Forecast what the source is, and write down where the forecast is from."""
    if path is None and settings.points is None:
        raise UsageError("forecast: give a design (.toml), an audit, or runs (--points runs.csv).")
    if path is None:
        document, tables = forecast_runs(_points(settings), settings)
    elif is_design(path):
        document, tables = _forecast_design(path, settings, progress)
    else:
        document, tables = forecast_audit(path, settings, progress)
    named = [] if path is None else [path.name]
    document |= {"as_of": settings.as_of or None}
    inputs = [*document.get("inputs", ()), *_inputs(path, settings)]
    document |= provenance_of("forecast", [*named, *settings.as_arguments()], inputs)
    return document, tables


def _points(settings: ForecastSettings) -> Path:
    return settings.points or Path()


def _inputs(path: Path | None, settings: ForecastSettings) -> list[dict[str, Any]]:
    """List the files that were read besides those of a record."""
    one = path if path is not None and is_design(path) else None
    runs = settings.calibrate if is_runs(settings.calibrate) else None
    served = (settings.requests, settings.iterations)
    given = [one, runs, settings.points, settings.layout, *settings.collectives, *served]
    return [digest_of(each) for each in given if each is not None]


def _forecast_design(
    path: Path, settings: ForecastSettings, progress: Progress
) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    recorded = settings.calibrate is not None and not is_runs(settings.calibrate)
    refuse_others(settings, "design", also=("layout",) if recorded else ())
    design = read_design(path)
    check_answers(design, settings)
    asked, outlook, advice, found = foresee(design, settings, progress)
    document = describe(asked, outlook, advice, (found.runs, found.calibration)) | found.told()
    document["inputs"] = list(found.inputs)
    tables = dict(advice.tables)
    for key, answer in (("search", layouts_of), ("serving", serving_of)):
        progress(f"working out {key}")
        told, more = answer(found.design, settings) or (None, {})
        document[key] = told
        tables |= more
    return document, tables


def _nearest(sizes: Sequence[int], n: int) -> int:
    """Find the present size, or the size nearest to it."""
    return min(range(len(sizes)), key=lambda place: (abs(sizes[place] - n), place))
