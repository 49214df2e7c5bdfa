"""How many bits a stored weight has, by the format's name, and what that makes of a ratio."""

from __future__ import annotations

#: Bits of a weight as networks are trained, in float32.
TRAINED_BITS = 32
#: Bits of a weight by the name of its format.
BITS: dict[str, int] = {
    "float16": 16,
    "bfloat16": 16,
    **{f"int{bits}": bits for bits in range(8, 1, -1)},
}


def is_integer(weights: str) -> bool:
    """Return whether a format's weights are whole numbers times a scale."""
    return weights.startswith("int")


def ratio(weights: str, of: float = 1.0) -> float:
    """Return the nominal ratio of networks in a format, to two decimals.

    It is bits before over bits after, 2 for float16, 4 for int8 and 5.33 for int6, times the
    ratio ``of`` the networks that were quantized.
    """
    return round(of * TRAINED_BITS / BITS[weights], 2)
