"""Secret keys out of a Java JCEKS keystore; certificates and private keys are stepped over.

The keystore's layout is that of com.sun.crypto.provider.JceKeyStore. A secret key in it is a
serialized Java object (Java Object Serialization Specification, section 6.4) that wraps another
one, encrypted with Sun's own PBEWithMD5AndTripleDES. Every length is checked; KeystoreDamaged says
what is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from parsers.der import DerReader, KeystoreDamaged

MAGIC = b"\xce\xce\xce\xce"

_DIGEST_SALT = b"Mighty Aphrodite"
_DIGEST_BYTES = 20
_MAX_ITERATIONS = 5_000_000  # Java's own bound
_MAX_DEPTH = 30

_BASE_HANDLE = 0x7E0000
_TC_NULL, _TC_REFERENCE, _TC_CLASSDESC, _TC_OBJECT = 0x70, 0x71, 0x72, 0x73
_TC_STRING, _TC_ARRAY, _TC_ENDBLOCKDATA, _TC_ENUM = 0x74, 0x75, 0x78, 0x7E
_SC_WRITE_METHOD = 0x01
_PRIMITIVE_BYTES = {"B": 1, "C": 2, "D": 8, "F": 4, "I": 4, "J": 8, "S": 2, "Z": 1}


def read_jceks(data: bytes, store_password: str, key_password: str) -> dict[str, bytes]:
    """Alias to bytes of every secret key; KeystoreDamaged if a password or the file is wrong."""
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    salted = store_password.encode("utf-16-be") + _DIGEST_SALT + content
    if not hmac.compare_digest(hashlib.sha1(salted, usedforsecurity=False).digest(), digest):
        raise KeystoreDamaged("the store password is wrong or the keystore is damaged")
    reader = _Reader(content)
    if reader.take(4) != MAGIC:
        raise KeystoreDamaged("not a JCEKS keystore")
    version, count = reader.u32(), reader.u32()
    if version not in (1, 2):
        raise KeystoreDamaged(f"JCEKS version {version} is not known")
    keys = {}
    for _ in range(count):
        tag, alias, _created_ms = reader.u32(), reader.utf(), reader.take(8)
        if tag == 1:
            reader.take(reader.u32())
            for _ in range(reader.u32()):
                _skip_certificate(reader, version)
        elif tag == 2:
            _skip_certificate(reader, version)
        elif tag == 3:
            keys[alias] = _unseal(_JavaObjects(reader).read(), key_password)
        else:
            raise KeystoreDamaged(f"an entry of kind {tag} is not known")
    return keys


def _skip_certificate(reader: _Reader, version: int) -> None:
    if version == 2:
        reader.utf()
    reader.take(reader.u32())


def _unseal(sealed: Any, password: str) -> bytes:
    """The key inside a javax.crypto.SealedObject."""
    if not isinstance(sealed, dict) or sealed.get("sealAlg") != "PBEWithMD5AndTripleDES":
        raise KeystoreDamaged("a secret key is not sealed with PBEWithMD5AndTripleDES")
    parameters, encrypted = sealed.get("encodedParams"), sealed.get("encryptedContent")
    if not isinstance(parameters, bytes) or not isinstance(encrypted, bytes):
        raise KeystoreDamaged("a sealed key has no parameters or no content")
    fields = DerReader(parameters).sequence()
    salt, iterations = fields.octets(), fields.integer()
    if len(salt) != 8 or not 0 < iterations <= _MAX_ITERATIONS or len(encrypted) % 8:
        raise KeystoreDamaged("a sealed key's parameters are impossible")
    derived = _derive(password, salt, iterations)
    decryptor = Cipher(TripleDES(derived[:24]), modes.CBC(derived[24:])).decryptor()
    plain = decryptor.update(encrypted) + decryptor.finalize()
    padding = plain[-1] if plain else 0
    if not 1 <= padding <= 8 or plain[-padding:] != bytes([padding]) * padding:
        raise KeystoreDamaged("the key password is wrong")
    key = _JavaObjects(_Reader(plain[:-padding])).read()
    # javax.crypto.spec.SecretKeySpec calls it "key", java.security.KeyRep "encoded".
    found = key.get("key", key.get("encoded")) if isinstance(key, dict) else None
    if not isinstance(found, bytes):
        raise KeystoreDamaged("a sealed object is not a secret key")
    return found


def _derive(password: str, salt: bytes, iterations: int) -> bytes:
    """24 bytes of key and 8 of IV, as com.sun.crypto.provider.PBES1Core derives them."""
    first, second = salt[:4], salt[4:]
    if first == second:
        # Java means to reverse the first half and, by an old slip, gives this.
        first = bytes((first[3], first[0], first[1], first[3]))
    secret = bytes(ord(char) & 0x7F for char in password)
    derived = b""
    for hashed in (first, second):
        digest = hashed
        for _ in range(iterations):
            digest = hashlib.md5(digest + secret, usedforsecurity=False).digest()
        derived += digest
    return derived


class _Reader:
    """Checked big-endian reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._position:
            raise KeystoreDamaged("the keystore ends too early")
        self._position += count
        return self._data[self._position - count : self._position]

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2))

    def u32(self) -> int:
        return int.from_bytes(self.take(4))

    def utf(self) -> str:
        return self.take(self.u16()).decode("utf-8", "surrogatepass")


@dataclass
class _Class:
    """A class description of a serialization stream."""

    flags: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)  # type code, name
    parent: _Class | None = None


class _JavaObjects:
    """As much of Java's serialization as secret keys use: objects, byte arrays, strings, enums."""

    def __init__(self, reader: _Reader) -> None:
        if reader.take(4) != b"\xac\xed\x00\x05":
            raise KeystoreDamaged("a sealed key is not a serialized Java object")
        self._reader = reader
        self._handles: list[Any] = []

    def read(self, depth: int = 0) -> Any:
        """The next value: a dict of an object's fields, bytes, str or None."""
        if depth > _MAX_DEPTH:
            raise KeystoreDamaged("a serialized object is nested too deeply")
        reader, kind = self._reader, self._reader.u8()
        if kind == _TC_NULL:
            return None
        if kind == _TC_REFERENCE:
            handle = reader.u32() - _BASE_HANDLE
            if not 0 <= handle < len(self._handles):
                raise KeystoreDamaged("a serialized object refers to nothing")
            return self._handles[handle]
        if kind == _TC_CLASSDESC:
            return self._read_class(depth)
        if kind == _TC_STRING:
            text = reader.utf()
            self._handles.append(text)
            return text
        if kind not in (_TC_OBJECT, _TC_ARRAY, _TC_ENUM):
            raise KeystoreDamaged(f"serialized content of kind {kind:#x} is not known")
        described = self.read(depth + 1)
        if not isinstance(described, _Class):
            raise KeystoreDamaged("a serialized object has no class")
        handle = len(self._handles)
        self._handles.append(None)
        if kind == _TC_OBJECT:
            value: Any = self._read_fields(described, depth)
        elif kind == _TC_ARRAY:
            value = reader.take(reader.u32())  # of bytes: nothing else occurs in a key
        else:
            value = self.read(depth + 1)
        self._handles[handle] = value
        return value

    def _read_class(self, depth: int) -> _Class:
        reader, described = self._reader, _Class()
        reader.utf()
        reader.take(8)  # serialVersionUID
        self._handles.append(described)
        described.flags = reader.u8()
        for _ in range(reader.u16()):
            code, name = chr(reader.u8()), reader.utf()
            if code in "[L":
                self.read(depth + 1)  # the field's class name
            elif code not in _PRIMITIVE_BYTES:
                raise KeystoreDamaged("a serialized field is of no known type")
            described.fields.append((code, name))
        if reader.u8() != _TC_ENDBLOCKDATA:
            raise KeystoreDamaged("a serialized class is annotated")
        parent = self.read(depth + 1)
        if parent is not None and not isinstance(parent, _Class):
            raise KeystoreDamaged("a serialized class has something else for a parent")
        described.parent = parent
        return described

    def _read_fields(self, described: _Class, depth: int) -> dict[str, Any]:
        lineage: list[_Class] = []
        current: _Class | None = described
        while current is not None:
            if len(lineage) > _MAX_DEPTH:
                raise KeystoreDamaged("a serialized class has too many parents")
            lineage.append(current)
            current = current.parent
        values: dict[str, Any] = {}
        for owner in reversed(lineage):
            for code, name in owner.fields:
                primitive = _PRIMITIVE_BYTES.get(code)
                if primitive is None:
                    values[name] = self.read(depth + 1)
                else:
                    values[name] = self._reader.take(primitive)
            if owner.flags & _SC_WRITE_METHOD and self._reader.u8() != _TC_ENDBLOCKDATA:
                raise KeystoreDamaged("a serialized object carries data of its own")
        return values
