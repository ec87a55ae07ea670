"""Condense coupled jobs: fewer ops, the same waits between ranks."""

from loadpath.couple.condensed.job import couple_condensed, recording_of
from loadpath.couple.condensed.merge import LEVELS, Condensed, Level, condense

__all__ = ["LEVELS", "Condensed", "Level", "condense", "couple_condensed", "recording_of"]
