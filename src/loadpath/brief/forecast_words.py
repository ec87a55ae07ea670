"""Plain words for what forecast.json says: amounts, verdict, and the questions that it answers."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.grid import Cell
from loadpath.units import format_ratio, format_seconds

__all__ = [
    "LEVER_WORDS",
    "LIMIT_WORDS",
    "MORE",
    "Answer",
    "amount",
    "answers",
    "cost_scale",
    "cost_words",
    "duration",
    "forecast_decision",
    "forecast_headline",
    "forecast_summary",
    "joined",
    "power",
    "rounded",
]

Document = Mapping[str, Any]
Answer = tuple[str, list[Cell]]

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
_SCALES = ((1, ""), (1e3, "thousand "), (1e6, "million "), (1e9, "billion "), (1e12, "trillion "))
MORE = 1.005
"""Times a gain that counts as larger."""

_DAY_S, _HOUR_S = 86_400, 3_600


def rounded(value: float) -> str:
    """Write a number with three significant digits.

    Parameters
    ----------
    value : float
        Any.

    Returns
    -------
    str
        With separators of thousands.

    Examples
    --------
    >>> rounded(3182.1), rounded(0.012345), rounded(1.0)
    ('3,180', '0.0123', '1.00')
    """
    if value == 0:
        return "0"
    text = f"{float(f'{value:.3g}'):,.10f}" if abs(value) < 1e6 else f"{float(f'{value:.3g}'):,.0f}"
    digits = max(0, 2 - _power(value))
    return f"{float(text.replace(',', '')):,.{digits}f}"


def _power(value: float) -> int:
    return int(f"{value:.2e}".rpartition("e")[2])


def duration(seconds: float) -> str:
    """Write the length of a job.

    Parameters
    ----------
    seconds : float
        Time in s.

    Returns
    -------
    str
        In days, hours, or as `format_seconds` does.

    Examples
    --------
    >>> duration(598074), duration(7200), duration(12.0)
    ('6.92 days', '2.00 h', '12.0 s')
    """
    if seconds >= _DAY_S:
        return f"{rounded(seconds / _DAY_S)} days"
    return f"{rounded(seconds / _HOUR_S)} h" if seconds >= _HOUR_S else format_seconds(seconds)


def power(watts: float) -> str:
    """Write a power.

    Parameters
    ----------
    watts : float
        Power in W.

    Returns
    -------
    str
        In W, kW or MW.

    Examples
    --------
    >>> power(850668.0), power(52.0)
    ('851 kW', '52.0 W')
    """
    for scale, unit in ((1e6, "MW"), (1e3, "kW")):
        if watts >= scale:
            return f"{rounded(watts / scale)} {unit}"
    return f"{rounded(watts)} W"


def cost_scale(document: Document) -> tuple[float, str]:
    """Choose for how many units of work costs are told.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    scale : float
        Units of work.
    words : str
        Such as ``USD per million tokens``.
    """
    name = document["cost"]
    costs = [point[name]["median"] for point in document["points"]]
    what = document["currency"] if name == "cost_per_unit" else "accelerator-seconds"
    return cost_words(costs, what, document["unit"])


def cost_words(costs: list[float], what: str, unit: str) -> tuple[float, str]:
    """Choose for how many units of work some costs are told.

    Parameters
    ----------
    costs : list of float
        Of one unit.
    what : str
        Currency, or what else is paid.
    unit : str
        Such as token.

    Returns
    -------
    scale : float
        Units of work.
    words : str
        What, and per how many of them.

    Examples
    --------
    >>> cost_words([1.3e-6, 2e-6], "USD", "token")
    (1000000.0, 'USD per million tokens')
    """
    scale, said = next(((s, w) for s, w in _SCALES if s * min(costs) >= 0.1), _SCALES[-1])
    return float(scale), f"{what} per {said}{unit}{'s' if scale > 1 else ''}"


def amount(value: float, scale: float) -> Cell:
    """Show a cost of a unit for as many units as the scale says.

    Parameters
    ----------
    value : float
        Cost of one unit.
    scale : float
        Units.

    Returns
    -------
    Cell
        The exact number is that of one unit.
    """
    return Cell(rounded(value * scale), value)


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
        return f"Beyond {_whole(flags['throughput']['n'])} accelerators the job gets slower"
    if flags["average"]:
        ratio = document["inversion_searched"]["worst_ratio"]
        return (
            f"Beyond {_whole(flags['average']['n'])} accelerators a {unit} costs over "
            f"{ratio:g} times the cheapest"
        )
    if flags["marginal"]:
        return f"Beyond {_whole(flags['marginal']['n'])} accelerators a {unit} more is not worth it"
    return f"No inversion up to {most:,} accelerators"


def _whole(value: float) -> str:
    return rounded(value)


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
    high = Cell(f"beyond {most:,}", most) if flag["high"] is None else _size(flag["high"])
    likely = Cell(format_ratio(flag["likelihood_ratio"]), flag["likelihood_ratio"])
    return [
        Cell("inverts at "), _size(flag["n"]), Cell(" ("), _size(flag["low"]), Cell(" to "), high,
        Cell("; in "), likely, Cell(" of the worlds)"),
    ]  # fmt: skip


def _size(value: float) -> Cell:
    return Cell(rounded(value), value)


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


def answers(document: Document) -> list[Answer]:
    """Answer in plain words what a forecast is asked.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    list of (str, list of Cell)
        Question, and words with their numbers.
    """
    return [
        ("Does the structure absorb or amplify delay as it grows?", _amplifies(document)),
        ("Up to where does it pay, under which conditions?", _pays(document)),
        ("What helps when nothing is certain to run evenly?", _stability(document)),
        ("What is known before buying?", _known(document)),
        ("What would a pilot add?", _pilot(document)),
        ("How fast are the parts, and the whole?", _speed(document)),
        ("Is the network saturated?", _network(document)),
        ("Is more hardware needed?", _hardware(document)),
    ]


def _ratio(value: float) -> Cell:
    return Cell(format_ratio(value), value)


def _amplifies(document: Document) -> list[Cell]:
    first, last = document["points"][0], document["points"][-1]
    gains = first["noise_gain_ratio"], last["noise_gain_ratio"]
    lost = [_losses(point) for point in (first, last)]
    verb = "amplifies" if gains[1] > 1 else "passes on"
    more = ", and more so the larger it is" if gains[1] > MORE * gains[0] else ""
    return [
        Cell(f"It {verb} it{more}: one percent more variation of each rank makes a step "),
        Cell(f"{gains[0]:.2f} %", gains[0]), Cell(" longer at "), Cell(f"{first['n']:,}", first["n"]),
        Cell(" accelerators and "), Cell(f"{gains[1]:.2f} %", gains[1]), Cell(" at "),
        Cell(f"{last['n']:,}", last["n"]), Cell(". Waiting takes "),
        _ratio(lost[0][0]), Cell(" of the paid time at the first and "), _ratio(lost[1][0]),
        Cell(" at the last, failures "), _ratio(lost[0][1]), Cell(" and "), _ratio(lost[1][1]), Cell("."),
    ]  # fmt: skip


def _losses(point: Mapping[str, Any]) -> tuple[float, float]:
    return point["limitation"]["waiting"], point["limitation"]["failures"]


def _pays(document: Document) -> list[Cell]:
    cells = forecast_summary(document)
    near = sorted(
        (row for row in document["break_even"] if row["times"] is not None and row["times"] > 1),
        key=lambda row: (row["times"], row["lever"]),
    )[:3]
    if not near:
        return cells
    limit, scale = document["limit"]["cost_per_unit"], cost_scale(document)
    at = [Cell(" At "), Cell(f"{document['n_now']:,}", document["n_now"]), Cell(" the limit of "),
          amount(limit, scale[0]), Cell(f" {scale[1]} is passed first by: ")]  # fmt: skip
    for place, row in enumerate(near):
        words = LEVER_WORDS[row["lever"]]
        cells_of = [Cell(f"{', ' if place else ''}{words} "), Cell(f"{row['times']:.2f}", row["times"]),
                    Cell(" times worse")]  # fmt: skip
        at += cells_of
    return [*cells, *at, Cell(".")]


def _elastic(document: Document, name: str) -> float:
    return next(
        float(row["median"]) for row in document["elasticity"] if row["parameter"] == name
    )


def _stability(document: Document) -> list[Cell]:
    noise, failing = _elastic(document, "noise"), _elastic(document, "failure_rate")
    calm = next(row for row in document["substitution"] if row["improvement"].startswith("no noise"))
    cells = [
        Cell("One percent less noise saves "), Cell(f"{noise:.3f} %", noise),
        Cell(" of the cost, one percent fewer failures "), Cell(f"{failing:.3f} %", failing),
        Cell(". Without noise and with equal devices the job is "), _ratio(calm["gain_ratio"]),
        Cell(" faster"),
    ]  # fmt: skip
    if calm["n_added"] is None:
        return [*cells, Cell(", which no number of added accelerators up to the largest gives.")]
    return [*cells, Cell(", as by "), _size(calm["n_added"]), Cell(" more accelerators.")]


def _known(document: Document) -> list[Cell]:
    now = _now(document)
    band, (scale, words) = now[document["cost"]], cost_scale(document)
    drivers = [row for row in document["priors"] if row["share_ratio"]][:3]
    cells = [
        Cell("At "), Cell(f"{now['n']:,}", now["n"]), Cell(" accelerators "),
        amount(band["median"], scale), Cell(f" {words}, nine times in ten from "),
        amount(band["low"], scale), Cell(" to "), amount(band["high"], scale),
    ]  # fmt: skip
    if not drivers:
        return [*cells, Cell(".")]
    cells += [Cell("; what drives the band: ")]
    for place, row in enumerate(drivers):
        cells += [Cell(f"{', ' if place else ''}{row['name']} "), _ratio(row["share_ratio"])]
    return [*cells, Cell(".")]


def _pilot(document: Document) -> list[Cell]:
    if not document["pilot"]:
        return [Cell("Not assessed: no smaller size than the present one is possible.")]
    row = document["pilot"][0]
    return [
        Cell(f"{row['n_steps']}", row["n_steps"]), Cell(" steps on "), Cell(f"{row['n']:,}", row["n"]),
        Cell(" accelerators would narrow the band of the cost to "), _ratio(row["width_ratio"]),
        Cell(" of its width, as far as the model errs alike at both sizes."),
    ]  # fmt: skip


def _now(document: Document) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(
        point for point in document["points"] if point["n"] == document["n_now"]
    )
    return found


def _speed(document: Document) -> list[Cell]:
    now = _now(document)
    best = max(document["points"], key=lambda p: p["tokens_per_s"] * p["ettr_ratio"])
    unit = document["unit"]
    return [
        Cell("Devices do "), _ratio(now["mfu_ratio"]), Cell(" of their peak; a step takes "),
        Cell(format_seconds(now["step_s"]["median"]), now["step_s"]["median"]), Cell(", "),
        Cell(rounded(now["tokens_per_s"]), now["tokens_per_s"]), Cell(f" {unit}s a second. Most of the "
        "sizes looked at: "), Cell(rounded(best["tokens_per_s"]), best["tokens_per_s"]),
        Cell(" at "), Cell(f"{best['n']:,}", best["n"]), Cell("."),
    ]  # fmt: skip


def _network(document: Document) -> list[Cell]:
    now, last = _now(document), document["points"][-1]
    gain = next(r for r in document["substitution"] if r["improvement"].startswith("network"))
    return [
        Cell("Transfers between nodes that nothing hides take "),
        _ratio(now["limitation"]["inter_node"]), Cell(" of the paid time at "),
        Cell(f"{now['n']:,}", now["n"]), Cell(" accelerators and "),
        _ratio(last["limitation"]["inter_node"]), Cell(" at "), Cell(f"{last['n']:,}", last["n"]),
        Cell("; twice the bandwidth makes the job "), _ratio(gain["gain_ratio"]), Cell(" faster at the first."),
    ]  # fmt: skip


def _hardware(document: Document) -> list[Cell]:
    best = document["substitution"][0]
    cells = [Cell(f"The largest gain looked at: {best['improvement']}, "), _ratio(best["gain_ratio"])]
    if best["n_added"] is None:
        return [*cells, Cell("; no number of added accelerators up to the largest does as much.")]
    cells += [Cell("; added accelerators that do as much: "), _size(best["n_added"])]
    if best["worth"] is not None and best["worth"] > 0:
        cells += [Cell(", which is dearer unless the improvement costs over "),
                  Cell(rounded(best["worth"]), best["worth"]), Cell(f" {document['currency']} for the job")]  # fmt: skip
    return [*cells, Cell(".")]
