"""Secret keys out of a PKCS#12 keystore as Java writes them; certificates are stepped over.

RFC 7292 with PBES2 (RFC 8018). Java puts a secret key into a SecretBag that holds an encrypted
PrivateKeyInfo; the libraries at hand read private keys and certificates only. The file's MAC is not
checked: a wrong password shows as wrong padding. KeystoreDamaged says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from parsers.der import (
    BMP_STRING,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    DerReader,
    KeystoreDamaged,
)

_DATA, _ENCRYPTED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.6"
_SECRET_BAG, _SHROUDED_KEY = "1.2.840.113549.1.12.10.1.5", "1.2.840.113549.1.12.10.1.2"
_FRIENDLY_NAME = "1.2.840.113549.1.9.20"
_PBES2, _PBKDF2 = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12"
_HMAC_SHA1 = "1.2.840.113549.2.7"
_PRFS: dict[str, type[hashes.HashAlgorithm]] = {
    _HMAC_SHA1: hashes.SHA1,
    "1.2.840.113549.2.8": hashes.SHA224,
    "1.2.840.113549.2.9": hashes.SHA256,
    "1.2.840.113549.2.10": hashes.SHA384,
    "1.2.840.113549.2.11": hashes.SHA512,
}
_AES_CBC_KEY_BYTES = {
    "2.16.840.1.101.3.4.1.2": 16,
    "2.16.840.1.101.3.4.1.22": 24,
    "2.16.840.1.101.3.4.1.42": 32,
}
_MAX_ITERATIONS = 5_000_000  # Java's own bound
_CONTEXT_0, _CONTEXT_0_PRIMITIVE = 0xA0, 0x80


def read_pkcs12(data: bytes, store_password: str, key_password: str) -> dict[str, bytes]:
    """Alias to bytes of every secret key; KeystoreDamaged if a password or the file is wrong."""
    pfx = DerReader(data).sequence()
    if pfx.integer() != 3:
        raise KeystoreDamaged("not a PKCS#12 keystore of version 3")
    content = pfx.sequence()
    if content.object_id() != _DATA:
        raise KeystoreDamaged("a PKCS#12 keystore that is signed with a public key")
    safes = DerReader(content.within(_CONTEXT_0).octets()).sequence()
    keys = {}
    while safes.tag == SEQUENCE:
        for alias, sealed in _secrets(_safe_contents(safes.sequence(), store_password)):
            key_info = DerReader(_decrypt(DerReader(sealed).sequence(), key_password)).sequence()
            key_info.integer()
            key_info.sequence()
            keys[alias] = key_info.octets()
    return keys


def _safe_contents(info: DerReader, password: str) -> DerReader:
    kind = info.object_id()
    if kind == _DATA:
        return DerReader(info.within(_CONTEXT_0).octets()).sequence()
    if kind != _ENCRYPTED_DATA:
        raise KeystoreDamaged(
            "a part of the keystore is neither plain nor encrypted with a password"
        )
    encrypted = info.within(_CONTEXT_0).sequence()
    encrypted.integer()
    content = encrypted.sequence()
    content.object_id()
    return DerReader(_decrypt(content, password)).sequence()


def _secrets(bags: DerReader) -> Iterator[tuple[str, bytes]]:
    """Alias and encrypted key of every SecretBag."""
    while bags.tag == SEQUENCE:
        bag = bags.sequence()
        if bag.object_id() != _SECRET_BAG:
            continue
        secret = bag.within(_CONTEXT_0).sequence()
        if secret.object_id() == _SHROUDED_KEY:
            yield _friendly_name(bag), secret.within(_CONTEXT_0).octets()


def _friendly_name(bag: DerReader) -> str:
    attributes = bag.within(SET)
    while attributes.tag == SEQUENCE:
        attribute = attributes.sequence()
        if attribute.object_id() == _FRIENDLY_NAME:
            return attribute.within(SET).element(BMP_STRING).decode("utf-16-be")
    raise KeystoreDamaged("a secret key has no alias")


def _decrypt(sealed: DerReader, password: str) -> bytes:
    """An AlgorithmIdentifier and what it encrypted, an OCTET STRING, explicit or implicit."""
    algorithm = sealed.sequence()
    if algorithm.object_id() != _PBES2:
        raise KeystoreDamaged(
            "the keystore is encrypted with a scheme older than PBES2: copy it with "
            "`keytool -importkeystore` of Java 17"
        )
    parameters = algorithm.sequence()
    derivation, scheme = parameters.sequence(), parameters.sequence()
    encrypted = sealed.element(OCTET_STRING if sealed.tag == OCTET_STRING else _CONTEXT_0_PRIMITIVE)
    key_bytes = _AES_CBC_KEY_BYTES.get(scheme.object_id())
    if key_bytes is None:
        raise KeystoreDamaged("the keystore is encrypted with another cipher than AES/CBC")
    iv = scheme.octets()
    if len(iv) != 16 or not encrypted or len(encrypted) % 16:
        raise KeystoreDamaged("an encrypted part of the keystore has an impossible length")
    key = _derive(derivation, key_bytes, password)
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    plain = decryptor.update(encrypted) + decryptor.finalize()
    padding = plain[-1]
    if not 1 <= padding <= 16 or plain[-padding:] != bytes([padding]) * padding:
        raise KeystoreDamaged("the password is wrong or the keystore is damaged")
    return plain[:-padding]


def _derive(derivation: DerReader, key_bytes: int, password: str) -> bytes:
    if derivation.object_id() != _PBKDF2:
        raise KeystoreDamaged("the keystore's password is hashed with another function than PBKDF2")
    parameters = derivation.sequence()
    salt, iterations = parameters.octets(), parameters.integer()
    if parameters.tag == INTEGER:
        parameters.integer()  # the key's length, which the cipher gives as well
    is_default = parameters.tag != SEQUENCE
    prf_id = _HMAC_SHA1 if is_default else parameters.sequence().object_id()
    if prf_id not in _PRFS or not 0 < iterations <= _MAX_ITERATIONS:
        raise KeystoreDamaged("the keystore's password is hashed in an unknown way")
    return PBKDF2HMAC(_PRFS[prf_id](), key_bytes, salt, iterations).derive(password.encode())
