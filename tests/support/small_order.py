"""The small-order points of edwards25519 and every encoding of them, from the curve's equation (RFC 8032).

`python -m tests.support.small_order` prints `ed25519_small_order.json`; a test compares the two.

    -x^2 + y^2 = 1 + d x^2 y^2      d = -121665/121666      p = 2^255 - 19
"""

import json
from pathlib import Path

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
TABLE = Path(__file__).with_name("ed25519_small_order.json")

Point = tuple[int, int]


def small_order_points() -> dict[Point, int]:
    """The eight points whose order divides the cofactor, with their orders.

    A point of order 4 doubles to (0, -1), so y = 0 and x^2 = -1. One of order 8 doubles to one of order 4,
    whose y is 0, so y^2 = -x^2, which with the curve's equation gives d x^4 - 2 x^2 - 1 = 0.
    """
    points = [(0, 1), (0, P - 1)]
    points += [(x, 0) for x in _roots(P - 1)]
    for root in _roots(1 + D):
        for x in _roots((1 + root) * pow(D, -1, P)):
            points += [(x, y) for y in _roots(-x * x)]
    return {point: _order(point) for point in points}


def encodings(point: Point) -> list[bytes]:
    """Every 32 bytes that a lenient decoder reads as the point, the canonical ones first.

    y may be written with p added where it still fits in 255 bits, and the sign of x = 0 either way.
    """
    x, y = point
    signs = (0, 1) if x == 0 else (x & 1,)
    values = (y, y + P) if y + P < 2**255 else (y,)
    return [(value | sign << 255).to_bytes(32, "little") for value in values for sign in signs]


def table() -> list[dict[str, object]]:
    """Every encoding with the order of its point, and whether RFC 8032 section 5.1.3 lets it decode."""
    return [
        {"encoding": encoding.hex(), "order": order, "canonical": number == 0}
        for point, order in sorted(small_order_points().items(), key=lambda item: (item[1], item[0]))
        for number, encoding in enumerate(encodings(point))
    ]


def non_canonical_encodings() -> list[bytes]:
    """Every encoding whose y is not reduced: p to 2^255 - 1, with both signs."""
    return [(y | sign << 255).to_bytes(32, "little") for y in range(P, 2**255) for sign in (0, 1)]


def _roots(square: int) -> list[int]:
    """Both square roots modulo p, where there are any (RFC 8032 section 5.1.1)."""
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square % P:
        root = root * pow(2, (P - 1) // 4, P) % P
    return sorted({root, P - root}) if root * root % P == square % P else []


def _order(point: Point) -> int:
    order, total = 1, point
    while total != (0, 1):
        order, total = order + 1, _add(total, point)
    return order


def _add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


if __name__ == "__main__":
    print(json.dumps(table(), indent=1))
