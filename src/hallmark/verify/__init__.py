"""Decide whether a bundle is true. Pure and offline."""
