"""Health of links that nccl-tests measured pair by pair."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from loadpath.decode.digest import file_digest
from loadpath.errors import InputError
from loadpath.tables import caveat_table
from loadpath.tables.measured import LINK_POINT

__all__ = ["SCHEMA", "judge_links", "links_caveat", "measured_files"]

SCHEMA = "loadpath.links/1"
REMEDY = "Give a summary of pairs (docs/formats/nccl_tests.md): six pairs or more of one test."
OTHERS = {".jsonl", ".parquet", ".lpz", ".otf2", ".def", ".evt", ".sqlite", ".goal"}
"""Names under which such a test is never kept; JSON is told by how it begins."""
UNTOLD = "no two nodes were measured against each other in a test of six pairs or more"


def judge_links(*sources: str | Path, seed: int = 0) -> dict[str, Any]:
    """Say which links and nodes are weak.

    Parameters
    ----------
    *sources : str or Path
        Summaries of links, of one cluster.
    seed : int
        Seed of the shuffles.

    Returns
    -------
    dict
        Document of schema ``loadpath.links/1``: ``links``, rows of table `LINK_HEALTH`, the weakest
        first; ``weak``, names of those that are; ``tests``, ``inputs``, ``caveats``.

    Raises
    ------
    InputError
        If no pair can be judged.
    """  # numpydoc ignore=PR01,PR02
    from loadpath.diagnose.link_health import link_health  # noqa: PLC0415 - few need it
    from loadpath.ingest.nccl_tests import read_nccl_tests  # noqa: PLC0415 - few need it

    paths = [Path(source) for source in sources]
    records = [read_nccl_tests(path) for path in paths]
    points = pl.concat([LINK_POINT.empty(), *(record.links for record in records)])
    health = link_health(points, np.random.default_rng(seed))
    if not health.height:
        raise InputError(", ".join(path.name for path in paths[:3]), UNTOLD, REMEDY)
    caveats = pl.concat([record.caveat for record in records])
    return {
        "schema": SCHEMA,
        "weak": health.filter("is_weak").select("place", "name").to_dicts(),
        "links": health.to_dicts(),
        "tests": points.select("collective", "n_rank_per_node").unique().height,
        "inputs": [
            dict(zip(("path_name", "sha256", "bytes"), file_digest(path), strict=True))
            for path in paths
        ],
        "caveats": caveats.sort("code", "text").to_dicts(),
    }


def measured_files(files: Sequence[Path]) -> list[Path]:
    """Find what nccl-tests left among some files.

    Parameters
    ----------
    files : sequence of Path
        Any; traces may name such a test, and are left alone.

    Returns
    -------
    list of Path
        Logs and tables of nccl-tests.
    """
    named = {path: {suffix.lower() for suffix in path.suffixes} for path in files}
    likely = [path for path in files if not OTHERS & named[path] and path.is_file()]
    if not likely:
        return []
    from loadpath.ingest.nccl_tests import is_nccl_tests, is_output  # noqa: PLC0415 - few need it

    tells = {True: is_output, False: is_nccl_tests}
    return [path for path in likely if tells[".json" in named[path]](path)]


def links_caveat(files: Sequence[Path]) -> pl.DataFrame:
    """Say of measured links that lie beside the records of a job which of them are weak.

    Parameters
    ----------
    files : sequence of Path
        Files beside the records.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT`: one row where links were measured, one where some are weak.
    """
    found = measured_files(files)
    try:
        told = judge_links(*found) if found else None
    except InputError:
        told = None
    names = ", ".join(path.name for path in found[:3])
    if told is None:
        text = f"collectives measured apart from the job (calibration, not audited): {names}"
        return caveat_table([("collectives_measured", text, len(found))])
    weak = [f"{row['place']} {row['name']}" for row in told["weak"]]
    text = f"links measured apart from the job ({names}): none is weak beyond chance"
    weakness = (
        f"links measured apart from the job ({names}): weak beyond chance are {', '.join(weak[:6])}"
    )
    return caveat_table([
        ("links_measured", text, int(not weak) * len(told["links"])),
        ("links_weak", weakness, len(weak)),
    ])  # fmt: skip
