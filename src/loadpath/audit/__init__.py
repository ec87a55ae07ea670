"""Compose an audit: the only place that knows the order of the stages."""

from loadpath.audit.pipeline import couple_recording, run_audit
from loadpath.audit.result import Audit, open_audit
from loadpath.audit.settings import Settings
from loadpath.audit.sources import load_recording
from loadpath.audit.what_if import WhatIf

__all__ = [
    "Audit",
    "Settings",
    "WhatIf",
    "couple_recording",
    "load_recording",
    "open_audit",
    "run_audit",
]
