"""Plain words of a comparison: which candidate, how sure, what being wrong costs, what a pilot adds."""

from collections.abc import Mapping
from typing import Any

from loadpath.brief.amounts import amount, cost_words, rounded
from loadpath.brief.grid import Cell
from loadpath.units import format_ratio

__all__ = [
    "compare_answers",
    "compare_headline",
    "compare_scale",
    "compare_summary_words",
    "loss_words",
    "pilot_words",
]

Document = Mapping[str, Any]


def compare_scale(document: Document) -> tuple[float, str]:
    """Choose for how much work costs of candidates are told.

    Parameters
    ----------
    document : mapping
        Schema ``loadpath.compare/1``.

    Returns
    -------
    scale : float
        Units of work; 1 for a whole job.
    words : str
        What is paid, for what.
    """
    if document["figure"] == "job_cost":
        return 1.0, f"{document['currency']} for the job"
    what = document["currency"] or "accelerator-seconds"
    return cost_words([row["median"] for row in document["candidates"]], what, document["unit"])


def compare_headline(document: Document) -> str:
    """Say in one line which candidate costs least.

    Parameters
    ----------
    document : mapping
        Schema ``loadpath.compare/1``.

    Returns
    -------
    str
        A sentence.
    """
    best = document["candidates"][0]
    return f"{best['candidate']} costs least in {format_ratio(best['best_ratio'])} of the worlds"


def compare_summary_words(document: Document) -> list[Cell]:
    """Put the chosen candidate beside the next one.

    Parameters
    ----------
    document : mapping
        Schema ``loadpath.compare/1``.

    Returns
    -------
    list of Cell
        Words.
    """
    scale, words = compare_scale(document)
    best, second = document["candidates"][:2]
    cells = [amount(best["mean"], scale), Cell(f" {words} are expected")]
    if best["job_s"] is not None and document["figure"] != "job_cost":
        cells.append(Cell(" while it runs"))
    more = second["mean"] / best["mean"] - 1
    told = [Cell(format_ratio(more), more), Cell(" more.")]
    if more >= 1:
        told = [Cell(rounded(more + 1), more + 1), Cell(" times as much.")]
    return [*cells, Cell(f"; the next, {second['candidate']}, costs "), *told]


def pilot_words(document: Document) -> list[Cell]:
    """Say what the best pilot would be worth.

    Parameters
    ----------
    document : mapping
        Schema ``loadpath.compare/1``.

    Returns
    -------
    list of Cell
        Words.
    """
    scale, words = compare_scale(document)
    if not document["pilot"]:
        return [
            Cell("No candidate can be run smaller: each ran already, or is as small as it can be.")
        ]
    best = max(document["pilot"], key=lambda row: (row["value"], row["candidate"]))
    if not best["value"]:
        return [Cell("No. No pilot that was imagined changes the choice.")]
    return [
        Cell(f"{best['n_steps']} steps of {best['candidate']} on "), Cell(f"{best['n']:,}", best["n"]),
        Cell(" accelerators save "), amount(best["value"], scale), Cell(" of at most "),
        amount(best["most"], scale), Cell(f" {words} on average, its own cost not taken off; they change the choice in "),
        Cell(format_ratio(best["changes_ratio"]), best["changes_ratio"]), Cell(" of what it may show."),
    ]  # fmt: skip


def compare_answers(document: Document) -> list[tuple[str, list[Cell]]]:
    """Answer what a buyer asks.

    Parameters
    ----------
    document : mapping
        Schema ``loadpath.compare/1``.

    Returns
    -------
    list of (str, list of Cell)
        Questions and answers.
    """
    scale, words = compare_scale(document)
    best = document["candidates"][0]
    wrong = [
        Cell(f"Choosing {best['candidate']} costs "), amount(best["expected_loss"], scale),
        Cell(f" {words} more than the best of each world on average: so much is it worth, at most, to know "
             "everything first."),
    ]  # fmt: skip
    for row in document["candidates"][1:4]:
        wrong += [Cell(f" {row['candidate']}: "), amount(row["expected_loss"], scale), Cell(".")]
    return [
        ("What does choosing wrongly cost?", wrong),
        ("Is a pilot worth its money?", pilot_words(document)),
        ("What could make another one right after all?", [Cell(_doubt(document))]),
    ]


def _doubt(document: Document) -> str:
    """Name the priors that tell candidates apart, unless none of the worlds changes the choice."""
    about = document["about"]
    differ = "; ".join(f"{about[name]} ({name})" for name in document["not_shared"])
    if not differ:
        return "Nothing that was varied: what is not known is the same for all."
    best = document["candidates"][0]
    if best["best_ratio"] == 1:
        return (
            f"Nothing that was varied: {best['candidate']} costs least in every world. Not the same for all: "
            f"{differ}."
        )
    return f"What is not known, and not the same for all: {differ}."


def loss_words(document: Document) -> str:
    """Say what choosing the best of expectation costs where it is wrong; empty where it never is.

    Parameters
    ----------
    document : mapping
        Schema ``loadpath.compare/1``.

    Returns
    -------
    str
        The end of a sentence.
    """
    scale, words = compare_scale(document)
    best = document["candidates"][0]
    if best["best_ratio"] == 1:
        return ""
    return (
        f"; choosing it wrongly costs {rounded(best['expected_loss'] * scale)} {words} on average"
    )
