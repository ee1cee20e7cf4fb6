"""A segment goes only when Cassandra is done with it, both files of it, and never with keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_tail.discard import Discarder
from tests.support.node_folder import NodeFolder


@pytest.fixture
def node(tmp_path: Path) -> NodeFolder:
    folder = NodeFolder(tmp_path)
    folder.create(1)
    return folder


def test_a_completed_segment_goes_with_its_index(node: NodeFolder) -> None:
    node.complete(1)
    discarder = Discarder(keep=False)
    assert discarder.discard(node.path(1))
    assert list(node.cdc_raw.iterdir()) == []
    assert len(list(node.commitlog.iterdir())) == 1  # the node's own name is not ours
    assert discarder.discarded == 1


def test_an_open_segment_stays_whatever_the_caller_says(node: NodeFolder) -> None:
    node.sync(1)
    assert not Discarder(keep=False).discard(node.path(1))
    assert len(list(node.cdc_raw.iterdir())) == 2


def test_an_orphan_of_a_clean_shutdown_goes(node: NodeFolder) -> None:
    (node.commitlog / node.path(1).name).unlink()
    assert Discarder(keep=False).discard(node.path(1))
    assert not node.path(1).exists()


def test_keep_deletes_nothing(node: NodeFolder) -> None:
    node.complete(1)
    assert not Discarder(keep=True).discard(node.path(1))
    assert len(list(node.cdc_raw.iterdir())) == 2


def test_an_index_left_by_an_interrupted_discard_goes(node: NodeFolder) -> None:
    node.complete(1)
    node.path(1).unlink()
    assert Discarder(keep=False).discard(node.path(1))
    assert list(node.cdc_raw.iterdir()) == []


def test_neighbours_stay(node: NodeFolder) -> None:
    node.complete(1)
    node.create(2)
    node.complete(2)
    Discarder(keep=False).discard(node.path(1))
    assert sorted(one.name for one in node.cdc_raw.iterdir()) == sorted(
        [node.path(2).name, node.index(2).name]
    )
