"""Work that may take only so long."""

import threading
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


def run_bounded(work: Callable[[], _Result], *, seconds: float, late: Exception) -> _Result:
    """Run `work` on a thread; raises `late` after `seconds`; the thread ends with the process."""
    results: list[_Result] = []
    faults: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as fault:  # noqa: BLE001 - raised again where it is waited for
            faults.append(fault)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if faults:
        raise faults[0]
    if not results:
        raise late
    return results[0]
