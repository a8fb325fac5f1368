"""What holds for every test."""

import signal

from hypothesis import settings

# An example may take as long as it does: a machine with other work must not fail a test.
settings.register_profile("hallmark", deadline=None)
settings.load_profile("hallmark")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
