"""Asking a node for its schema through a process of our own; the answers are tested live."""

from __future__ import annotations

import sys

import pytest
from pydantic import SecretStr

from cdc_tail import node_schema
from cdc_tail.errors import SourceUnavailable
from cdc_tail.local.ports import free_ports
from cdc_tail.settings import CassandraSettings


def test_a_node_that_is_away_is_told_with_its_address() -> None:
    settings = CassandraSettings(port=free_ports(1)[0], user="u", password=SecretStr("secret"))
    with pytest.raises(SourceUnavailable, match=f"127.0.0.1:{settings.port}") as caught:
        node_schema.ask(settings)
    assert caught.value.hint
    assert caught.value.retryable


def test_a_child_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SourceUnavailable, match="exit status 1"):
        node_schema.ask(CassandraSettings())
