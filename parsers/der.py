"""Reads the few ASN.1 DER elements that keystores are made of; checks every length."""

from __future__ import annotations

INTEGER, OCTET_STRING, NULL, OBJECT_ID, SEQUENCE, SET, BMP_STRING = (
    0x02, 0x04, 0x05, 0x06, 0x30, 0x31, 0x1E,
)  # fmt: skip


class KeystoreDamaged(ValueError):
    """A keystore that is not what it should be, or a password that does not open it."""


class DerReader:
    """Elements one after the other. KeystoreDamaged for what is not there or not whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def tag(self) -> int | None:
        """The tag of the next element, None at the end."""
        at_end = self._position >= len(self._data)
        return None if at_end else self._data[self._position]

    def element(self, tag: int) -> bytes:
        """The content of the next element, which must have this tag."""
        header = self._data[self._position : self._position + 6]
        if len(header) < 2 or header[0] != tag:
            raise KeystoreDamaged(f"no ASN.1 element of kind {tag:#x} where one belongs")
        start, length = 2, header[1]
        if length & 0x80:
            start += length & 0x7F
            # Indefinite lengths (BER) and lengths beyond 32 bits are not DER's or not ours.
            if not 3 <= start <= min(6, len(header)):
                raise KeystoreDamaged("an ASN.1 length is not one of DER")
            length = int.from_bytes(header[2:start])
        start += self._position
        if length > len(self._data) - start:
            raise KeystoreDamaged("an ASN.1 element runs past the end")
        self._position = start + length
        return self._data[start : self._position]

    def within(self, tag: int) -> DerReader:
        """A reader of the content of the next element."""
        return DerReader(self.element(tag))

    def sequence(self) -> DerReader:
        """A reader of the next element, a SEQUENCE."""
        return self.within(SEQUENCE)

    def octets(self) -> bytes:
        """The next element, an OCTET STRING."""
        return self.element(OCTET_STRING)

    def integer(self) -> int:
        """The next element, an INTEGER."""
        return int.from_bytes(self.element(INTEGER), signed=True)

    def object_id(self) -> str:
        """The next element, an OBJECT IDENTIFIER, in dotted form."""
        raw = self.element(OBJECT_ID)
        arcs, value = [], 0
        for byte in raw:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(value)
                value = 0
        if not arcs:
            raise KeystoreDamaged("an empty ASN.1 object identifier")
        first = min(arcs[0] // 40, 2)
        return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))
