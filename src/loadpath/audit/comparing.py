"""The order of a comparison: read designs and audits, put them side by side, write a page."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import polars as pl

from loadpath.audit.design_inputs import read_design
from loadpath.audit.folder import (
    check_target,
    document_bytes,
    is_result,
    write_folder,
    write_table,
)
from loadpath.audit.forecast_known import (
    audit_of,
    inputs_of,
    is_design,
    kind_of,
    known_of_audit,
)
from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.audit.provenance import digest_of, provenance_of
from loadpath.audit.result import Audit
from loadpath.audit.settings import Progress
from loadpath.errors import UsageError
from loadpath.forecast.candidates import candidate_of_design, candidate_of_job
from loadpath.forecast.comparison import check_names, compare

__all__ = ["run_comparison"]


class Options(TypedDict, total=False):
    """Options as given from Python, by name."""

    seed: int
    worlds: int
    pilot: int | None
    rates: Sequence[float]
    currency: str
    layout: str | Path | None
    data_parallel: bool


def run_comparison(
    *sources: str | Path,
    out: str | Path | None = None,
    force: bool = False,
    progress: Progress = lambda _: None,
    **options: Unpack[Options],
) -> dict[str, Any]:
    """Compare designs and audited jobs side by side, each at its own size.

    Parameters
    ----------
    *sources : str or Path
        Design files, audit folders or recordings, two or more.
    out : str or Path, optional
        Folder to write; nothing is written if left out.
    force : bool
        Replace a comparison that is there.
    progress : callable of str
        Told what begins.
    **options
        ``seed``, ``worlds`` of the sampled worlds, which all share; ``pilot``, accelerators of a pilot run of
        each design (the fewest that it can have, if left out); ``rates`` of what was recorded, in
        ``currency`` for an accelerator-hour (one for all, or one for each, in their order); ``layout`` of
        recorded op tables; ``data_parallel``, whether all ranks of traces are replicas.

    Returns
    -------
    dict
        Schema ``loadpath.compare/1``.

    Raises
    ------
    InputError
        If a source cannot be read, or is not sound.
    UsageError
        If an option is wrong, or the sources cannot be compared.
    """  # numpydoc ignore=PR01,PR02
    rates, pilot = tuple(options.get("rates", ())), options.get("pilot")
    settings = _settings(options, rates)
    if out is not None:
        check_target(Path(out), force=force, kind="compare")
    paths = [Path(source) for source in sources]
    check_names([_called(path, paths) for path in paths])
    # Designs first: that one is not sound shows in moments, an audit takes longer.
    designs = {path: read_design(path) for path in paths if is_design(path)}
    recorded = [path for path in paths if path not in designs]
    charged = _charged(settings, recorded, rates)
    _refuse_idle(settings, pilot, recorded, n_design=len(designs))
    audits = _audits(recorded, settings, progress)
    found, inputs = [], []
    for path in paths:
        progress(f"replaying {path.name}")
        name, worlds = _called(path, paths), (settings.seed, settings.worlds)
        if path in designs:
            found.append(candidate_of_design(name, designs[path], worlds, pilot))
            inputs.append(digest_of(path))
            continue
        known = known_of_audit(name, audits[path], charged[path], own_size=True)
        found.append(candidate_of_job(name, known))
        inputs += inputs_of(path, audits[path])
    words = [*(path.name for path in paths), *settings.as_arguments()]
    words += [word for rate in rates[1:] for word in ("--rate", f"{rate:g}")]
    words += [] if pilot is None else ["--pilot", str(pilot)]
    document = compare(found, (settings.seed, settings.worlds)) | provenance_of(
        "compare", words, inputs
    )
    if out is not None:
        _write(Path(out), document, force=force)
    return document


def _settings(options: Options, rates: Sequence[float]) -> ForecastSettings:
    pilot, layout = options.get("pilot"), options.get("layout")
    unknown = set(options) - set(Options.__annotations__)
    if unknown:
        known = ", ".join(Options.__annotations__)
        raise UsageError(f"unknown option {min(unknown)!r}. Options are {known}.")
    if pilot is not None and pilot < 1:
        raise UsageError(f"comparison: a pilot of {pilot} accelerators. Give one or more.")
    return ForecastSettings(
        seed=options.get("seed", 0),
        worlds=options.get("worlds", 512),
        rate=rates[0] if rates else None,
        currency=options.get("currency", "USD"),
        layout=None if layout is None else Path(layout),
        data_parallel=options.get("data_parallel", False),
    )


def _charged(
    settings: ForecastSettings, recorded: Sequence[Path], rates: Sequence[float]
) -> dict[Path, ForecastSettings]:
    """Give what was recorded its price."""
    if rates and (not recorded or len(rates) not in {1, len(recorded)}):
        raise UsageError(
            f"comparison: {len(rates)} of --rate for {len(recorded)} that were recorded. Give one for all, "
            "or one for each; designs have prices of their own ([prices])."
        )
    each: Sequence[float | None] = rates if len(rates) != 1 else [*rates] * len(recorded)
    each = each or [None] * len(recorded)
    return {path: replace(settings, rate=rate) for path, rate in zip(recorded, each, strict=True)}


def _refuse_idle(
    settings: ForecastSettings, pilot: int | None, recorded: Sequence[Path], *, n_design: int
) -> None:
    """Refuse options that none of the candidates has an answer to."""
    if pilot is not None and not n_design:
        raise UsageError("--pilot: none of the candidates is a design. Leave it out.")
    if settings.layout is not None and all(map(is_result, recorded)):
        raise UsageError(
            "--layout: none of the candidates is a recording, and audits know their own. Leave it out."
        )


def _audits(
    recorded: Sequence[Path], settings: ForecastSettings, progress: Progress
) -> dict[Path, Audit]:
    """Open or make the audit of each record."""
    audits = {}
    for path in recorded:
        progress(f"reading {path.name}")
        audits[path] = audit_of(path, None if is_result(path) else settings.layout)
    if settings.data_parallel and "traces" not in map(kind_of, audits, audits.values()):
        raise UsageError("--data-parallel: none of the candidates is of traces. Leave it out.")
    return audits


def _called(path: Path, paths: Sequence[Path]) -> str:
    """Name a candidate by its file, with its folder where files of one name lie in several."""
    return path.stem if [other.stem for other in paths].count(path.stem) == 1 else str(path)


def _write(out: Path, document: dict[str, Any], *, force: bool) -> None:
    from loadpath.brief import render_comparison_page  # noqa: PLC0415 - not needed without it

    page = render_comparison_page(document)
    tables = {"candidate": _flat(document["candidates"]), "pilot": pl.DataFrame(document["pilot"])}

    def write(folder: Path) -> None:
        for name, table in tables.items():
            write_table(folder / f"{name}.parquet", table)
        (folder / "compare.json").write_bytes(document_bytes(document))
        (folder / "briefing.html").write_text(page, encoding="utf-8")

    write_folder(out, write, force=force, kind="compare")


def _flat(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Lay candidates out as a table, the band of the step in columns of its own."""
    plain = [
        {key: value for key, value in row.items() if key != "step_s"}
        | {f"step_{edge}_s": value for edge, value in row["step_s"].items()}
        for row in rows
    ]
    return pl.DataFrame(plain, infer_schema_length=None)
