"""Event simulation: a schedule and the LogGOPS model give times, without any recording."""

from loadpath.replay.simulation.changes import changed_schedule
from loadpath.replay.simulation.events import Simulation, simulate_schedule
from loadpath.replay.simulation.noise import Noise, drawn_noise, trace_noise

__all__ = [
    "Noise",
    "Simulation",
    "changed_schedule",
    "drawn_noise",
    "simulate_schedule",
    "trace_noise",
]
