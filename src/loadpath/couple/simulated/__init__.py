"""A simulated schedule becomes a coupled job: its frozen service order as a graph."""

from loadpath.couple.simulated.job import couple_simulated

__all__ = ["couple_simulated"]
