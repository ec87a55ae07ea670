"""Couple stage logs: ranks meet where a stage makes up for what they were late by."""

from loadpath.couple.stages.job import couple_stages

__all__ = ["couple_stages"]
