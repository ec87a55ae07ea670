"""The face: result tables become a briefing, a summary and figures; nothing is computed here."""

from importlib import import_module
from typing import Any

_HOMES = {
    "FIGURE_NAMES": "loadpath.brief.figures",
    "Figure": "loadpath.brief.picture",
    "figure": "loadpath.brief.figures",
    "forecast_figure": "loadpath.brief.forecast_page",
    "render_briefing": "loadpath.brief.briefing",
    "render_comparison": "loadpath.brief.compare_summary",
    "render_comparison_page": "loadpath.brief.compare_page",
    "render_forecast": "loadpath.brief.forecast_page",
    "render_forecast_summary": "loadpath.brief.forecast_summary",
    "render_summary": "loadpath.brief.summary",
}

__all__ = [  # noqa: F822  (below)
    "FIGURE_NAMES",
    "Figure",
    "figure",
    "forecast_figure",
    "render_briefing",
    "render_comparison",
    "render_comparison_page",
    "render_forecast",
    "render_forecast_summary",
    "render_summary",
]


def __getattr__(name: str) -> Any:
    # Chart libraries take half a second to load; a summary or --json must not pay for them.
    if name not in _HOMES:
        raise AttributeError(f"module 'loadpath.brief' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
