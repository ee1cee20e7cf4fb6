"""Pinned jars: what the lock files say, and a cache filled, repaired and shared over real HTTP."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cdc_tail.local import jars
from cdc_tail.local.errors import JarsUnavailable, LocalStackError

CONTENT = b"PK\x05\x06 not much of a jar"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository on localhost, the only one that jgo is configured for; its folder."""
    folder = tmp_path / "repository"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        config = tmp_path / "jgo.conf"
        config.write_text(f"[repositories]\nlocal = http://127.0.0.1:{server.server_port}\n")
        monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
        monkeypatch.setenv("CDC_TAIL_CACHE", str(tmp_path / "cache"))
        yield folder
        server.shutdown()
        thread.join()


def publish(repository: Path, number: int) -> jars.Jar:
    """Put a small jar into the repository and return its pin."""
    content = CONTENT + str(number).encode()
    folder = repository / "org" / "example" / f"part{number}" / "1.0"
    folder.mkdir(parents=True)
    (folder / f"part{number}-1.0.jar").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return jars.Jar("org.example", f"part{number}", "jar", "", "1.0", len(content), digest)


def test_every_lock_pins_its_release_and_names_no_repository() -> None:
    for series, release in jars.RELEASES.items():
        locked = jars.read_lock(series)
        assert f"org.apache.cassandra:cassandra-all:jar::{release}" == locked[0].coordinate
        assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) and jar.size_bytes for jar in locked)
    for lock in (Path(jars.__file__).parent / "locks").glob("*.lock"):
        assert "//" not in lock.read_text()


def test_a_missing_and_a_truncated_jar_are_fetched_again(repository: Path) -> None:
    wanted = [publish(repository, number) for number in range(4)]
    paths = jars.fetch(wanted)
    assert [path.read_bytes() for path in paths] == [CONTENT + b"%d" % n for n in range(4)]
    paths[1].unlink()
    paths[2].write_bytes(CONTENT[:5])
    seen: list[tuple[int, int]] = []
    assert jars.fetch(wanted, lambda done, total: seen.append((done, total))) == paths
    assert [path.read_bytes() for path in paths] == [CONTENT + b"%d" % n for n in range(4)]
    assert seen == [(1, 2), (2, 2)]
    assert not list((paths[0].parent.parent).glob("staging-*"))


def test_a_file_other_than_the_pinned_one_never_enters_the_cache(repository: Path) -> None:
    pinned = publish(repository, 1)
    published = next(repository.rglob("part1-1.0.jar"))
    published.write_bytes(published.read_bytes().swapcase())
    with pytest.raises(LocalStackError, match="not the pinned file"):
        jars.fetch([pinned])
    assert not list((repository.parent / "cache").rglob("*.jar"))


def test_an_unreachable_jar_names_the_next_step(repository: Path) -> None:
    pinned = publish(repository, 1)
    next(repository.rglob("part1-1.0.jar")).unlink()
    with pytest.raises(JarsUnavailable, match="part1") as caught:
        jars.fetch([pinned])
    assert "CDC_TAIL_CACHE" in caught.value.hint


def test_two_processes_fill_one_cache_at_once(repository: Path) -> None:
    wanted = [publish(repository, number) for number in range(8)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        one, other = pool.map(jars.fetch, [wanted, wanted])
    assert one == other
    assert all(path.read_bytes() == CONTENT + b"%d" % n for n, path in enumerate(one))
