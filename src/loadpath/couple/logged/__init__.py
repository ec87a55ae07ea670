"""Logs that hold nothing but communications become coupled jobs."""

from loadpath.couple.logged.job import couple_logged, is_timed

__all__ = ["couple_logged", "is_timed"]
