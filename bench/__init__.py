"""Measurements, by hand: each script says what it measures and needs nothing but this repository."""
