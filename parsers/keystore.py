"""Encryption keys from what operators have: a Java keystore's bytes, or a key written as text.

Opens no file and asks nobody: the caller brings the bytes and the passwords.
"""

from __future__ import annotations

import base64
import binascii

from cdc_tail.errors import SecretsError

KEY_BYTES = (16, 24, 32)

_JKS_MAGIC = b"\xfe\xed\xfe\xed"
_JCEKS_MAGIC = b"\xce\xce\xce\xce"
_DER_SEQUENCE = b"\x30"


def keys_from_keystore(
    data: bytes, store_password: str, key_password: str | None = None
) -> dict[str, bytes]:
    """Alias to key bytes of every secret key in a JCEKS or PKCS#12 keystore.

    `key_password` is the store's unless given, as with Java. Aliases are as stored: Java writes
    them in lower case. SecretsError if the file or a password is wrong, or `cryptography` is not
    installed.
    """
    if data[:4] == _JKS_MAGIC:
        raise SecretsError(
            "a keystore of type JKS can't hold the secret keys that encrypt a commit log",
            hint="give the JCEKS or PKCS12 keystore that cassandra.yaml names",
        )
    if data[:4] != _JCEKS_MAGIC and data[:1] != _DER_SEQUENCE:
        raise SecretsError("not a JCEKS or PKCS12 keystore")
    try:
        if data[:4] == _JCEKS_MAGIC:
            from parsers.jceks import read_jceks as read
        else:
            from parsers.pkcs12 import read_pkcs12 as read
    except ModuleNotFoundError as error:
        raise SecretsError(
            "reading a keystore needs the package `cryptography`",
            hint="install cdc-tail[encryption]",
        ) from error
    try:
        return read(data, store_password, store_password if key_password is None else key_password)
    except (ValueError, RecursionError) as error:
        raise SecretsError(f"the keystore can't be read: {error}") from error


def key_from_text(text: str) -> bytes:
    """An AES key written in hexadecimal or Base64; SecretsError if it is neither."""
    text = text.strip()
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text)
        except ValueError:
            continue
        if len(key) in KEY_BYTES:
            return key
    # The text itself must not show up in a log.
    raise SecretsError("an encryption key is not 16, 24 or 32 bytes in hexadecimal or Base64")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not Base64") from error
