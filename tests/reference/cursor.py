"""A cursor over bytes: every read checks, then advances; every integer is big-endian."""

from __future__ import annotations

from tests.reference.errors import DecodeError, Truncated

_U64 = (1 << 64) - 1


def signed(value: int, bits: int) -> int:
    """The two's-complement reading of the low `bits` bits of `value`."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Cursor:
    """Reads `data[position:limit]` from front to back."""

    def __init__(self, data: bytes, position: int = 0, limit: int | None = None) -> None:
        self.data = data
        self.position = position
        self.limit = len(data) if limit is None else limit

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return self.limit - self.position

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        if length < 0:
            raise DecodeError(f"negative length {length} at {self.position}")
        if length > self.remaining:
            raise Truncated(f"{length} bytes wanted at {self.position}, {self.remaining} left")
        start = self.position
        self.position += length
        return self.data[start : self.position]

    def u8(self) -> int:
        """Unsigned 8-bit integer."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Unsigned 16-bit integer."""
        return int.from_bytes(self.take(2), "big")

    def i16(self) -> int:
        """Signed 16-bit integer."""
        return int.from_bytes(self.take(2), "big", signed=True)

    def u32(self) -> int:
        """Unsigned 32-bit integer."""
        return int.from_bytes(self.take(4), "big")

    def i32(self) -> int:
        """Signed 32-bit integer."""
        return int.from_bytes(self.take(4), "big", signed=True)

    def i64(self) -> int:
        """Signed 64-bit integer."""
        return int.from_bytes(self.take(8), "big", signed=True)

    def uvint(self) -> int:
        """Unsigned variable-length integer (0 .. 2^64-1): the first byte's leading ones count the
        extra bytes.
        """
        first = self.u8()
        extra = 0
        while extra < 8 and first & (0x80 >> extra):
            extra += 1
        return (first & (0xFF >> extra)) << (8 * extra) | int.from_bytes(self.take(extra), "big")

    def svint(self) -> int:
        """Signed variable-length integer: zigzag over `uvint`."""
        raw = self.uvint()
        return signed((raw >> 1) ^ (-(raw & 1) & _U64), 64)

    def length(self) -> int:
        """A `uvint` that counts things to come: each takes a byte or more, so it cannot exceed what
        is left.
        """
        value = self.uvint()
        if value > self.remaining:
            raise Truncated(
                f"{value} bytes or items wanted at {self.position}, {self.remaining} left"
            )
        return value

    def vint_bytes(self) -> bytes:
        """Bytes behind their `uvint` length."""
        return self.take(self.length())
