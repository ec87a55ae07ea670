"""Forecast: step time, cost and risk of a job against its size, before it runs."""
