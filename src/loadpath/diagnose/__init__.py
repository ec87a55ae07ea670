"""Findings: who and what costs time, proved by counterfactual replay."""
