"""What `make security` makes of pip-audit's answers."""

from __future__ import annotations

from tests.tools.audit import judged


def test_what_could_not_be_looked_up_is_no_pass() -> None:
    known = {"name": "sound", "version": "1", "vulns": []}
    weak = {"name": "weak", "version": "2", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]}
    unknown = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}
    assert judged([known]) == ([], [])
    assert judged([known, weak, unknown]) == (["weak 2: PYSEC-1, PYSEC-2"], ["unknown"])
