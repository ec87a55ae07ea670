"""Rows of judged figures as Markdown."""

import polars as pl

SURROUND = 15


def read(folder, name):
    return pl.read_csv(folder / "tables" / name, comment_prefix="#", infer_schema_length=None)


def markdown(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def percent(ratio, digits=1):
    return f"{100 * ratio:+.{digits}f} %"
