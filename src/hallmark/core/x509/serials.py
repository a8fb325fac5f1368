"""Serial numbers of certificates and timestamps: integers that strangers choose."""

from typing import Final

from hallmark.errors import MalformedInput

MAX_SERIAL_BITS: Final = 256
"""RFC 5280 and RFC 3161 allow 160; some authorities add a little. Python prints 4,300 digits and no more."""


def check_serial(serial: int, *, what: str) -> int:
    """Return a serial number that may be kept and printed; raises `MalformedInput` naming `what`."""
    if serial.bit_length() > MAX_SERIAL_BITS:
        raise MalformedInput(
            f"the serial number of {what} has {serial.bit_length()} bits, more than {MAX_SERIAL_BITS}",
            code="serial_too_large",
        )
    return serial
