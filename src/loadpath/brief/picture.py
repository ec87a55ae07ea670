"""A picture that stands alone: SVG, the question it answers, its numbers in words and in a table."""

from dataclasses import dataclass, field
from html import escape

import polars as pl

from loadpath.brief.visible import visible

__all__ = ["Figure", "frame"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture of an audit; it shows itself in a notebook.

    Attributes
    ----------
    name : str
        Name in `loadpath.brief.FIGURE_NAMES`.
    title : str
        What it shows.
    description : str
        The numbers in words, for those who cannot see it.
    svg : str
        The drawing, empty where its table has no rows.
    table : polars.DataFrame
        The numbers behind it (or the foremost of them).
    """

    name: str
    title: str
    description: str
    svg: str = field(repr=False)
    table: pl.DataFrame = field(repr=False)

    def _repr_html_(self) -> str:
        words = f"{escape(visible(self.title))}: {escape(visible(self.description, limit=1200))}"
        return f"<figure>{self.svg}<figcaption>{words}</figcaption></figure>"

    def _repr_svg_(self) -> str:
        return self.svg


def frame(figure: Figure, size: tuple[float, float], body: str) -> Figure:
    """Put a drawing into an SVG element that says what it shows.

    Parameters
    ----------
    figure : Figure
        Figure whose title and description are used.
    size : (float, float)
        Width and height in user units.
    body : str
        SVG elements.

    Returns
    -------
    Figure
        The same figure with its `svg`.
    """
    title, words = escape(visible(figure.title)), escape(visible(figure.description, limit=1200))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]:g} {size[1]:g}" '
        f'role="img" preserveAspectRatio="xMinYMin" aria-labelledby="{figure.name}-title {figure.name}-words" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="currentColor" class="figure" '
        f'style="max-width:{1.12 * size[0]:.0f}px">'
        f'<title id="{figure.name}-title">{title}</title>'
        f'<desc id="{figure.name}-words">{words}</desc>{body}</svg>'
    )
    return Figure(figure.name, figure.title, figure.description, svg, figure.table)
