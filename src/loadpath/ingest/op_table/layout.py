"""The layout beside an op table: declared parallel sizes, and the name of the trial."""

from pathlib import Path

from loadpath.decode.regular import check_regular
from loadpath.errors import InputError

__all__ = ["LAYOUT_FILES", "MOST_RANKS", "find_layout", "read_layout", "trial_name"]

LAYOUT_KEYS = ("dp_size", "pp_size", "tp_size", "dsp_size", "vpp_size", "world_size")
LAYOUT_FILES = "meta*.y*ml"
MOST_RANKS = 1 << 20
"""Ranks, replicas and stages from here on are damage: no job has a million ranks."""


def read_layout(path: Path) -> dict[str, int]:
    """Read a flat ``key: value`` layout file.

    Parameters
    ----------
    path : Path
        File with one ``key: value`` a line; ``#`` begins a comment.

    Returns
    -------
    dict of str to int
        The known sizes in it, and ``run_id``.

    Raises
    ------
    InputError
        If the file cannot be read, or a size is not a positive whole number; all are named.
    """
    values = _values(path)
    sizes = {key: values[key] for key in LAYOUT_KEYS if key in values}
    wrong = [f"{key}: {value!r}" for key, value in sizes.items() if not _positive(value)]
    if wrong or not sizes:
        raise InputError(
            path.name,
            wrong or "no layout sizes found",
            f"Give positive whole numbers up to {MOST_RANKS} for {', '.join(LAYOUT_KEYS)}.",
        )
    run_id = values.get("run_id", "0")
    return {key: int(value) for key, value in sizes.items()} | (
        {"run_id": int(run_id)} if run_id.isdecimal() and len(run_id) <= 18 else {}
    )


def _positive(text: str) -> bool:
    return text.isdecimal() and len(text) <= 7 and 0 < int(text) <= MOST_RANKS


def trial_name(path: Path, layout: Path | None = None) -> str:
    """Name the trial that an op table records.

    Parameters
    ----------
    path : Path
        Op table.
    layout : Path, optional
        Layout file; found beside the table when not given.

    Returns
    -------
    str
        ``trial_name`` of the layout, else the name of the table without ``trace-``.

    Raises
    ------
    InputError
        If the layout cannot be read.
    """
    found = layout or find_layout(path)
    named = _values(found).get("trial_name", "") if found else ""
    return named or path.stem.removeprefix("trace-")


def _values(path: Path) -> dict[str, str]:
    """Read ``key: value`` lines as they stand."""
    try:
        text = check_regular(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            path.name, f"layout cannot be read ({error})", "Give a text file."
        ) from error
    pairs = (line.split("#")[0].partition(":") for line in text.splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs if key.strip()}


def find_layout(path: Path) -> Path | None:
    """Find the layout that lies beside an op table.

    Parameters
    ----------
    path : Path
        Op table.

    Returns
    -------
    Path or None
        ``meta-NAME.yaml`` of ``trace-NAME.parquet``, or the only ``meta*.yaml`` there is.
    """
    name = path.stem.removeprefix("trace-")
    beside = sorted(path.parent.glob(LAYOUT_FILES))
    for candidate in beside:
        if candidate.name in {f"meta-{name}.yaml", f"meta-{name}.yml"}:
            return candidate
    return beside[0] if len(beside) == 1 else None
