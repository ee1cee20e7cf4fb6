from parsers._relation import Relation

def held_times(
    relation: Relation, state: bytes
) -> tuple[
    int | None,
    tuple[int, int, int] | None,
    list[tuple[int, bytes | None, int, bytes | None]],
    dict[int, int],
]: ...
