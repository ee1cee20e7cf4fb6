"""Keys from keystores that Java's keytool made, and from text."""

from __future__ import annotations

import base64

import pytest

from cdc_tail.errors import SecretsError
from parsers.keystore import key_from_text, keys_from_keystore
from tests.support.golden import GOLDEN

KEYSTORES = GOLDEN / "keystores"
PASSWORD = "cassandra"


@pytest.mark.parametrize(
    ("name", "alias", "size"),
    [("commitlog.jceks", "cdc-tail:1", 16), ("commitlog.p12", "cdc-tail:2", 32)],
)
def test_keys_of_both_kinds_of_keystore(name: str, alias: str, size: int) -> None:
    data = (KEYSTORES / name).read_bytes()
    keys = keys_from_keystore(data, PASSWORD)
    assert {alias: len(key) for alias, key in keys.items()} == {alias: size}
    assert keys_from_keystore(data, PASSWORD, PASSWORD) == keys


@pytest.mark.parametrize("name", ["commitlog.jceks", "commitlog.p12"])
def test_wrong_passwords(name: str) -> None:
    data = (KEYSTORES / name).read_bytes()
    with pytest.raises(SecretsError, match="password is wrong"):
        keys_from_keystore(data, "guess")
    with pytest.raises(SecretsError, match="password is wrong"):
        keys_from_keystore(data, PASSWORD, "guess")


@pytest.mark.parametrize("name", ["commitlog.jceks", "commitlog.p12"])
def test_every_cut_is_an_error(name: str) -> None:
    data = (KEYSTORES / name).read_bytes()
    for length in range(len(data)):
        with pytest.raises(SecretsError):
            keys_from_keystore(data[:length], PASSWORD)


def test_keystore_that_can_not_hold_such_keys() -> None:
    with pytest.raises(SecretsError, match="JKS"):
        keys_from_keystore(b"\xfe\xed\xfe\xed" + bytes(100), PASSWORD)
    with pytest.raises(SecretsError, match="not a JCEKS"):
        keys_from_keystore(b"", PASSWORD)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_key_as_text(size: int) -> None:
    key = bytes(range(200, 200 + size))
    assert key_from_text(key.hex()) == key
    assert key_from_text(base64.b64encode(key).decode() + "\n") == key


@pytest.mark.parametrize("text", ["", "00", "z!" * 16, "00" * 17, "ä" * 16])
def test_text_that_is_no_key_is_not_repeated(text: str) -> None:
    with pytest.raises(SecretsError) as raised:
        key_from_text(text)
    assert not text or text not in str(raised.value)
