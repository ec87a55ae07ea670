"""Plain words for what forecast.json says: amounts, verdict, and the questions that it answers."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.amounts import whole
from loadpath.brief.grid import Cell
from loadpath.units import format_ratio

__all__ = [
    "LEVER_WORDS",
    "LIMIT_WORDS",
    "MORE",
    "forecast_decision",
    "forecast_headline",
    "forecast_summary",
    "joined",
    "size",
]

Document = Mapping[str, Any]

LIMIT_WORDS = {
    "compute": "computation",
    "memory": "memory",
    "intra_node": "links in a node",
    "inter_node": "network",
    "latency": "latency",
    "waiting": "waiting",
    "bubble": "pipeline bubble",
    "host": "host",
    "failures": "failures",
    "startup": "start-up",
    "steps": "steps",
}
LEVER_WORDS = {
    "device_speed": "speed of devices",
    "memory_bandwidth": "memory bandwidth",
    "link_bandwidth": "bandwidth in a node",
    "network_bandwidth": "network bandwidth",
    "latency": "latency",
    "noise": "noise",
    "failure_rate": "failure rate",
    "price": "price",
}
MORE = 1.005
"""Times a gain that counts as larger."""


def forecast_headline(document: Document) -> str:
    """Say the verdict in one line.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    str
        Up to where scaling pays.
    """
    flags, most = document["inversion"], document["inversion_searched"]["n_most"]
    unit = document["unit"]
    if len(document["points"]) < 2:
        return "One size says nothing of scaling"
    if flags["throughput"]:
        return f"Beyond {_up_to(flags['throughput'])} the job gets slower"
    if flags["average"]:
        ratio = document["inversion_searched"]["worst_ratio"]
        return f"Beyond {_up_to(flags['average'])} a {unit} costs over {ratio:g} times the cheapest"
    if flags["marginal"]:
        return f"Beyond {_up_to(flags['marginal'])} a {unit} more is not worth it"
    return f"No inversion up to {most:,} accelerators"


def _up_to(flag: Mapping[str, Any]) -> str:
    n = whole(flag["n"])
    return f"{n} accelerator{'' if n == '1' else 's'}"


def forecast_decision(document: Document) -> str:
    """Ask the decision that a forecast is for.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    str
        A question.
    """
    kind = "serve" if document["design"]["kind"] == "serving" else "run"
    return f"How many accelerators should {kind} {document['design']['name']}?"


def forecast_summary(document: Document) -> list[Cell]:
    """Say what each flag found.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    list of Cell
        Words, and numbers with what is behind them.
    """
    searched = document["inversion_searched"]
    cells = [Cell("Average cost: "), *_flagged(document, "average")]
    cells += [Cell(". Cost of what the last accelerators added: ")]
    if document["inversion"]["marginal"] is None and searched["value_per_unit"] is None:
        cells += [Cell("not assessed, since nobody said what the work is worth (--value)")]
    else:
        cells += _flagged(document, "marginal")
    return [*cells, Cell(". Throughput: "), *_flagged(document, "throughput"), Cell(".")]


def _flagged(document: Document, name: str) -> list[Cell]:
    searched, flag = document["inversion_searched"], document["inversion"][name]
    if len(document["points"]) < 2:
        return [Cell("not assessed with one size")]
    if flag is None:
        return [Cell("no inversion up to "), Cell(f"{searched['n_most']:,}", searched["n_most"])]
    most = searched["n_most"]
    high = Cell(f"beyond {most:,}", most) if flag["high"] is None else size(flag["high"])
    likely = Cell(format_ratio(flag["likelihood_ratio"]), flag["likelihood_ratio"])
    low = size(flag["low"])
    # Edges of one whole number say no more than it does.
    edges = [] if low.text == high.text else [low, Cell(" to "), high, Cell("; ")]
    return [
        Cell("inverts beyond "), size(flag["n"]), Cell(" ("), *edges, Cell("in "), likely,
        Cell(" of the worlds)"),
    ]  # fmt: skip


def size(value: float) -> Cell:
    """Show a number of accelerators that was interpolated.

    Parameters
    ----------
    value : float
        Accelerators.

    Returns
    -------
    Cell
        Whole ones.
    """
    return Cell(whole(value), value)


def joined(cells: list[Cell]) -> str:
    """Write cells as plain text.

    Parameters
    ----------
    cells : list of Cell
        Words and numbers.

    Returns
    -------
    str
        Their texts.
    """
    return "".join(cell.text for cell in cells)
