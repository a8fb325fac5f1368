"""What holds for every test."""

from hypothesis import settings

# An example may take as long as it does: a machine with other work must not fail a test.
settings.register_profile("hallmark", deadline=None)
settings.load_profile("hallmark")
