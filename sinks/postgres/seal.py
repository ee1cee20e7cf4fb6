"""What was set aside, unreadable for those who may read the mirror but not what it masks.

A sealed mutation is its bytes encrypted by AES-256-GCM, a random nonce of 12 bytes before them. The
key is made of mirror.mask_key. Without that, nothing is sealed.
"""

from __future__ import annotations

import hmac
import os
from typing import Final

from cdc_tail.errors import ConfigError

_NONCE_BYTES: Final = 12


class Seal:
    """Seals and opens the raw bytes of dead letters and parked mutations."""

    def __init__(self, mask_key: bytes | None = None) -> None:
        """Raises ConfigError where the package that encrypts is missing."""
        self.is_used = mask_key is not None
        if mask_key is None:
            return
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ConfigError(
                "mirror.mask_key needs the package cryptography",
                hint="pip install 'cdc-tail[encryption]'",
            ) from error
        self._cipher = AESGCM(hmac.digest(mask_key, b"cdc-tail: set aside", "sha256"))
        self._invalid = InvalidTag

    def close(self, raw: bytes) -> bytes:
        """What is to be stored of raw bytes."""
        if not self.is_used:
            return raw
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, raw, None)

    def open(self, stored: bytes, *, is_sealed: bool) -> bytes:
        """The raw bytes again. Raises ConfigError where the key is missing or another one."""
        if not is_sealed:
            return stored
        if not self.is_used:
            raise ConfigError("what was set aside is encrypted, and there is no key", hint=_HINT)
        try:
            return self._cipher.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], None)
        except self._invalid as error:
            raise ConfigError(
                "what was set aside is encrypted with another key", hint=_HINT
            ) from error


_HINT: Final = "set mirror.mask_key (CDC_TAIL_MIRROR_MASK_KEY) to what it was then"
