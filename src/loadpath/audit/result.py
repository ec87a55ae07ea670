"""A finished audit: its document, its tables, and the job for further questions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from loadpath.audit.coupling import CouplingMatrix, coupling_matrix
from loadpath.audit.settings import Settings
from loadpath.audit.store import read_audit
from loadpath.audit.what_if import WhatIf, answer_what_if
from loadpath.couple import CoupledJob
from loadpath.couple.steps import lay_out
from loadpath.errors import UsageError

__all__ = ["Audit", "open_audit"]


@dataclass(frozen=True, slots=True)
class Audit:
    """A finished audit.

    Attributes
    ----------
    document : dict
        Content of ``audit.json``.
    tables : mapping of str to polars.DataFrame
        Result tables by name.
    coupled : callable
        Gives the coupled job, perhaps as runs of one graph.
    """

    document: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame]
    coupled: Callable[[], CoupledJob]

    def __repr__(self) -> str:
        """Name the verdict; documents and tables are long."""
        return f"Audit({self.document['verdict']['kind']}: {self.document['verdict']['summary']})"

    @property
    def runs(self) -> CoupledJob:
        """The coupled job; of an audit that was kept it is read from the records when asked for."""
        return self.coupled()

    @property
    def job(self) -> CoupledJob:
        """The coupled job in one graph, for further questions."""
        return lay_out(self.runs)

    @property
    def verdict(self) -> Mapping[str, Any]:
        """Kind, place, mechanism and proof of the verdict."""
        verdict: Mapping[str, Any] = self.document["verdict"]
        return verdict

    def table(self, name: str) -> pl.DataFrame:
        """Return a table by name.

        Parameters
        ----------
        name : str
            Such as ``attribution`` or ``cause``; see docs/formats/audit.md.

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

    def what_if(self, *changes: str) -> WhatIf:
        """Replay the job with changed work.

        Parameters
        ----------
        *changes : str
            Such as ``rank=0:ideal``, ``class=backward-compute:0.9`` or ``stage=last:ideal``.

        Returns
        -------
        WhatIf
            Step time and savings.

        Raises
        ------
        UsageError
            If a change cannot be read or matches nothing.
        """  # numpydoc ignore=PR01,PR02
        settings = Settings(gate=self.document["replay"]["gate"])
        return answer_what_if(self.job, changes, settings)

    def coupling(self, by: str = "rank", *, transitive: bool = True) -> CouplingMatrix:
        """Give the coupling matrix: who waited because of whom.

        Parameters
        ----------
        by : {"rank", "stage", "replica", "host", "communicator"}
            What rows and columns are; by communicator, rows are ranks.
        transitive : bool
            Whether a cause is where the walk back ends, or the rank that arrived last.

        Returns
        -------
        CouplingMatrix
            Coordinates of its entries, as a sparse matrix takes them.

        Raises
        ------
        UsageError
            If `by` is none of these, or no conclusion across ranks was drawn.
        """
        return coupling_matrix(self.runs, self.tables, by=by, transitive=transitive)

    def figure(self, name: str) -> Any:
        """Draw one figure of the briefing.

        Parameters
        ----------
        name : str
            ``waterfall``, ``heatmap``, ``path``, ``attribution``, ``steps``, ``coupling``,
            ``limitation``, ``envelope``, ``loss`` or ``load``.

        Returns
        -------
        loadpath.brief.Figure
            Shows itself in a notebook; ``.svg`` is the picture.

        Raises
        ------
        UsageError
            If there is no such figure.
        """
        from loadpath.brief import figure  # noqa: PLC0415 - drawing libraries load when used

        return figure(name, self.document, self.tables)


def open_audit(folder: str | Path) -> Audit:
    """Open an audit folder.

    Parameters
    ----------
    folder : str or Path
        What ``loadpath audit --out`` wrote.

    Returns
    -------
    Audit
        Document, tables and coupled job.

    Raises
    ------
    InputError
        If it is no audit folder or is damaged.
    """
    document, tables, job = read_audit(Path(folder))
    return Audit(document, tables, lambda: job)
