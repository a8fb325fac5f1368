"""The append-only log engine under every log of an instance."""
