"""Every input of the fuzzer's corpus runs through the ordinary build without a finding."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.mutator import entries_of, repaired, with_entry
from tests.fuzz.target import SEGMENT, Target, joined, pieces_of
from tests.support.segments import segment_of

CORPUS = sorted(
    path for path in (Path(__file__).parents[1] / "fuzz" / "corpus").iterdir() if path.is_file()
)


def test_the_corpus_has_both_kinds_of_inputs() -> None:
    kinds = {path.read_bytes()[0] & SEGMENT for path in CORPUS}
    assert kinds == {0, SEGMENT}


def test_every_input_runs_without_a_finding() -> None:
    target = Target()
    for path in CORPUS:
        try:
            target.run(path.read_bytes())
        except BaseException as error:
            error.add_note(f"input {path.name}")
            raise
    assert target.compared > len(CORPUS) / 2


def test_pieces_come_back() -> None:
    pieces = [(0, b"mutation"), (4, b""), (2, b"x" * 300)]
    assert pieces_of(joined(pieces)) == pieces


def test_a_repaired_segment_is_the_one_before_its_damage() -> None:
    file = bytes(segment_of([[b"first mutation", b"second mutation"], [b"third mutation"]]).data)
    spans = entries_of(file)
    assert [file[start:end] for start, end in spans][:3] == [
        b"first mutation",
        b"second mutation",
        b"third mutation",
    ]
    assert repaired(file)[: len(file) - 8] == file[:-8]
    damaged = bytearray(file)
    for at in (17, 29, 33, spans[0][1]):
        damaged[at] ^= 0xFF
    damaged[28:32] = file[28:32]
    assert entries_of(repaired(bytes(damaged)))[0] == spans[0]


def test_a_longer_entry_moves_what_follows() -> None:
    built = segment_of([[b"first mutation"], [b"second mutation"]])
    file = bytes(built.data)
    start, end = entries_of(file)[0]
    longer = with_entry(file, start, end, b"a much longer mutation")
    assert [longer[a:b] for a, b in entries_of(longer)][:2] == [
        b"a much longer mutation",
        b"second mutation",
    ]
