"""A wrong clock shows as expired tokens or missing services; it is told before them."""

from datetime import timedelta
from typing import Final

from hallmark.client.http import HttpClient, ServerClock
from hallmark.errors import HallmarkError, RemoteError, TrustError, Unauthenticated, VerificationError

# Tokens and certificates live for minutes; a Date header is exact to the second.
MAX_DIFFERENCE: Final = timedelta(minutes=1)
HINT: Final = "set this machine's clock, for example with NTP, and run the command again"
_ASK_SECONDS: Final = 3.0
# What a service says of itself: it would answer the same at any time.
_CLOCKLESS: Final = frozenset({"log_frozen", "service_failed", "service_not_found"})
_CLOCK_ERRORS: Final = (TrustError, Unauthenticated, RemoteError, VerificationError)


def explain_clock(error: HallmarkError, url: str, http: HttpClient | None = None) -> HallmarkError:
    """Put before an error that this machine's clock is not that of the service at `url`, where it is not.

    `http` is what has talked to the service, if anything has; else it is asked now.
    """
    if not _may_be_the_clock(error) or not url:
        return error
    clock = http.clock if http is not None else None
    wrong = describe_clock(clock or ask_clock(url))
    if not wrong:
        return error
    return type(error)(f"{wrong}: {error.message}", code=error.code, hint=HINT)


def blame_clock(error: HallmarkError) -> HallmarkError:
    """Change the hint of an error that a wrong clock may explain; that the clock is wrong was said before."""
    if not _may_be_the_clock(error):
        return error
    return type(error)(error.message, code=error.code, hint="the clock may explain it: set that first")


def _may_be_the_clock(error: HallmarkError) -> bool:
    return isinstance(error, _CLOCK_ERRORS) and error.code not in _CLOCKLESS


def describe_clock(clock: ServerClock | None) -> str:
    """Say which way this machine's clock is wrong, and how far; nothing where it is right or unknown."""
    if clock is None or abs(clock.ahead) <= MAX_DIFFERENCE:
        return ""
    where = f"{how_long(abs(clock.ahead))} {'ahead of' if clock.ahead > timedelta(0) else 'behind'}"
    return f"this machine's clock is {where} that of {clock.host}"


def how_long(time: timedelta) -> str:
    """Say a time in its two largest units."""
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def ask_clock(url: str) -> ServerClock | None:
    """Compare with the clock of a service; None where it does not answer."""
    http = HttpClient(timeout_seconds=_ASK_SECONDS, deadline_seconds=_ASK_SECONDS)
    try:
        http.get(url, service="the instance")
    except HallmarkError:
        return None
    return http.clock
