"""Structural audit of distributed AI and HPC jobs: where time and money go, and why."""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "Audit": "loadpath.audit",
    "Forecast": "loadpath.audit.forecasting",
    "InputError": "loadpath.errors",
    "LoadpathError": "loadpath.errors",
    "Recording": "loadpath.tables",
    "StructureError": "loadpath.errors",
    "UsageError": "loadpath.errors",
    "WhatIf": "loadpath.audit",
    "load_recording": "loadpath.audit",
    "open_audit": "loadpath.audit",
    "record": "loadpath.capture",
    "run_audit": "loadpath.audit",
    "run_comparison": "loadpath.audit.comparing",
    "run_forecast": "loadpath.audit.forecasting",
}

__all__ = [  # noqa: F822 - names are resolved on first use
    "Audit",
    "Forecast",
    "InputError",
    "LoadpathError",
    "Recording",
    "StructureError",
    "UsageError",
    "WhatIf",
    "load_recording",
    "open_audit",
    "record",
    "run_audit",
    "run_comparison",
    "run_forecast",
    "testing",
]


# typing is not loaded for a word: until a command is told how to stop, Ctrl-C shows a traceback
def __getattr__(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Import a public name on first use, so that ``loadpath --help`` starts at once."""  # numpydoc ignore=PR01
    if name == "testing":
        return import_module("loadpath.testing")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'loadpath' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
