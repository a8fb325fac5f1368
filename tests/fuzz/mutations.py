"""Changes of bytes, for where no fuzzer is installed."""

import random


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """Change a few bytes of a seed: flip, cut, repeat, insert, or put a piece elsewhere."""
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 2, 4))):
        _change(data, chance)
    return bytes(data)


def _change(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    end = min(len(data), start + chance.choice((1, 1, 2, 8, 64)))
    kind = chance.randrange(6)
    if kind == 0 and start < len(data):
        data[start] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del data[start:end]
    elif kind == 2:
        data[start:start] = data[start:end]
    elif kind == 3:
        data[start:start] = chance.choice((b"\0", b"\xff", b"\n", b'"', b"{", b"=", b" ", b"0", b"null"))
    elif kind == 4 and start < len(data):
        data[start] = chance.randrange(256)
    else:
        piece = bytes(data[start:end])
        del data[start:end]
        place = chance.randrange(len(data) + 1)
        data[place:place] = piece
