"""Plain words for layouts, served requests, and the measurement that is missing most."""

from collections.abc import Mapping, Sequence
from typing import Any

from loadpath.brief.amounts import amount, cost_scale, rounded
from loadpath.brief.grid import Cell
from loadpath.units import format_ratio, format_seconds

__all__ = ["iteration_words", "missing_words", "searched_words", "served_words"]

Document = Mapping[str, Any]

MEASURES = {
    "link_": "nccl-tests on one node (--collectives)",
    "network_": "nccl-tests on several nodes (--collectives)",
    "collective_": "nccl-tests of small sizes (--collectives)",
    "price": "an agreed rate",
    "node_failures": "failures of these nodes over some weeks",
    "job_failures": "failures of jobs over some weeks",
    "restart": "a restart, timed",
    "checkpoint_stall": "a checkpoint, timed",
    "slow": "which accelerators are slow: an audit of a run on them",
    "idle_power": "power of an idle node",
    "busy_power": "power of a busy node",
    "pue": "power at the meter",
    "tensor_": "a run at another tensor width",
    "kernel_serial_ratio": "a run with fewer samples on each rank",
}
"""What would tell a prior, by how its name begins; all else a timed run tells."""


def missing_words(document: Document) -> list[Cell]:
    """Say which measurement would narrow the band most.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    list of Cell
        Words; none where nothing drives the band.
    """
    drivers = [row for row in document["priors"] if row["share_ratio"]]
    if not drivers:
        return []
    name, share = drivers[0]["name"], drivers[0]["share_ratio"]
    run = "the step time of a run of this job (--calibrate)"
    what = next((told for starts, told in MEASURES.items() if name.startswith(starts)), run)
    return [
        Cell(f"{what}: {name} drives "), Cell(format_ratio(share), share),
        Cell(" of the variance of the cost."),
    ]  # fmt: skip


def searched_words(document: Document) -> list[Cell]:
    """Say what a search found.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    list of Cell
        Words; none without a search.
    """
    found = document["search"]
    if found is None:
        return []
    cells = [
        Cell(f"{found['n_timed']:,}", found["n_timed"]), Cell(" layouts timed, "),
        Cell(f"{found['n_within']:,}", found["n_within"]), Cell(" within bounds"),
    ]  # fmt: skip
    if not found["n_within"]:
        return [*cells, Cell(": none can be bought.")]
    best, (scale, words) = found["layouts"][0], cost_scale(document)
    cost = best[document["cost"]]
    return [
        *cells, Cell("; the best: "), Cell(f"{best['accelerators']:,}", best["accelerators"]),
        Cell(" accelerators, tensor "), Cell(str(best["tensor"]), best["tensor"]), Cell(", stages "),
        Cell(str(best["pipeline"]), best["pipeline"]), Cell(", step "),
        Cell(format_seconds(best["step_s"]), best["step_s"]), Cell(", "), amount(cost, scale),
        Cell(f" {words}."),
    ]  # fmt: skip


def served_words(document: Document) -> list[Cell]:
    """Say which width serves the recorded requests best.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    list of Cell
        Words; none without requests.
    """
    found = document["serving"]
    if found is None:
        return []
    promise = [
        Cell("First token in "), Cell(format_seconds(found["ttft_s"]), found["ttft_s"]),
        Cell(", others every "), Cell(format_seconds(found["tpot_s"]), found["tpot_s"]), Cell(" for "),
        Cell(format_ratio(found["good_ratio"]), found["good_ratio"]), Cell(": "),
    ]  # fmt: skip
    best = max(found["capacity"], key=lambda row: (row["requests_per_s"], -row["tensor"]))
    if not best["requests_per_s"]:
        return [*promise, Cell("no width keeps that at any load.")]
    figure, money = ("cost_per_million", document["currency"])
    if best[figure] is None:
        figure, money = "accelerator_s_per_million", "accelerator-seconds"
    return [
        *promise, Cell("width "), Cell(str(best["tensor"]), best["tensor"]), Cell(" keeps up with "),
        Cell(rounded(best["requests_per_s"]), best["requests_per_s"]), Cell(" requests/s ("),
        Cell(rounded(best["requests_low_per_s"]), best["requests_low_per_s"]), Cell(" to "),
        Cell(rounded(best["requests_high_per_s"]), best["requests_high_per_s"]), Cell("), "),
        Cell(rounded(best[figure]), best[figure]), Cell(f" {money} per million tokens."),
    ]  # fmt: skip


def iteration_words(document: Document) -> list[Cell]:
    """Say what measured iterations set of the times of a served model, and how well they are met.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    list of Cell
        Words; none without measured iterations.
    """
    fits: Sequence[Mapping[str, Any]] = (document["serving"] or {"iterations": ()})["iterations"]
    cells = []
    for fit in {one["of_tensor"]: one for one in fits}.values():
        cells += [
            Cell(f" Times are set by measured iterations at width {fit['of_tensor']}: "),
            Cell(f"{fit['n_point']:,}", fit["n_point"]), Cell(", half of them met within "),
            Cell(format_ratio(fit["error_ratio"]), fit["error_ratio"]), Cell("."),
        ]  # fmt: skip
    taken = ", ".join(str(one["tensor"]) for one in fits if one["tensor"] != one["of_tensor"])
    if taken:
        cells.append(Cell(f" Not measured, taken as the nearest that was: width {taken}."))
    return cells
