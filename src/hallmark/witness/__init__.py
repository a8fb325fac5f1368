"""Witnessing: a witness for any log, and the asking of witnesses for our own."""
