"""The keys of an encrypted commit log: of a keystore, of settings, of Vault; decrypts nothing."""

from __future__ import annotations

from cdc_tail.errors import ConfigError, SecretsError
from cdc_tail.settings import Settings
from cdc_tail.vault import encryption_keys
from parsers.keystore import key_from_text, keys_from_keystore


def read_keys(all_settings: Settings) -> dict[str, bytes]:
    """Alias to key of every key that the settings or Vault give; those written out win.

    Raises SecretsError where the keystore or a key can't be read.
    """
    settings = all_settings.encryption
    in_vault = encryption_keys(all_settings.vault)
    keys = {alias: key_from_text(text) for alias, text in in_vault.items()}
    if settings.keystore is not None:
        store_password = settings.keystore_password
        key_password = settings.key_password
        try:
            data = settings.keystore.read_bytes()
        except OSError as error:
            raise SecretsError(
                f"the keystore {settings.keystore} can't be read: {error.strerror}",
                hint="set encryption.keystore to a copy of the keystore that cassandra.yaml names",
            ) from error
        keys |= keys_from_keystore(
            data,
            store_password.get_secret_value() if store_password else "",
            key_password.get_secret_value() if key_password else None,
        )
    if settings.keys is not None:
        for pair in settings.keys.get_secret_value().split(","):
            alias, found, text = pair.strip().partition("=")
            if not found:
                raise ConfigError(
                    "encryption.keys is not a list of alias=key",
                    hint="write it as my-key:1=000102...,my-key:2=...",
                )
            keys[alias] = key_from_text(text)
    return keys
