"""Random histories of a keyspace: writes, and all that may befall tables between them, from a seed.

A history is a list of CQL statements, the same for the same seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from tests.support.random_cql import NATIVE, TYPES, Column, RandomTable

STATEMENTS: Final = 120
"""Of a history, if nothing else is wanted."""

NEW_TYPES: Final = ("int", "text", "blob", "set<int>", "list<text>", "map<text, int>")


class LivingTable(RandomTable):
    """A table whose definition changes while it is written."""

    def __init__(
        self, rng: Random, name: str, *, counter: bool = False, short_ttls: bool = True
    ) -> None:
        super().__init__(rng, name, counter=counter, short_ttls=short_ttls)
        self._dropped: list[Column] = []
        self.has_dropped = False
        self._drops_columns = rng.random() < 0.6
        if self._drops_columns:
            # Cassandra 5.0 fails to read a dropped column's cells that are newer than the drop.
            self.writetimes_us = self.writetimes_us[:-1]
        self._named = 0

    def change(self) -> str:
        """A random ALTER TABLE or TRUNCATE."""
        rng = self.rng
        kinds = [self._truncate]
        if not self.counter:
            kinds += [self._add, self._add, self._set_default_ttl]
        if self._drops_columns and self._droppable():
            kinds += [self._drop, self._drop]
        if self._dropped and not self.counter:  # which Cassandra allows to be dropped for good only
            kinds += [self._add_again, self._add_again]
        if self.clustering:
            kinds.append(self._rename)
        return rng.choice(kinds)()

    def _truncate(self) -> str:
        return f"TRUNCATE {self.name}"

    def _add(self) -> str:
        self._named += 1
        cql_type = self.rng.choice(NEW_TYPES)
        column = _plain(f"n{self._named}", cql_type)
        if self.clustering and self.rng.random() < 0.2:
            column.kind = "static"
        self.columns.append(column)
        return f"ALTER TABLE {self.name} ADD {_declared(column)}"

    def _drop(self) -> str:
        column = self.rng.choice(self._droppable())
        self.columns.remove(column)
        self._dropped.append(column)
        self.has_dropped = True
        return f"ALTER TABLE {self.name} DROP {column.name}"

    def _droppable(self) -> list[Column]:
        """Not the last regular one, which statements need, and no multi-cell user type."""
        regular = [c for c in self.columns if c.kind == "regular"]
        return [c for c in self.columns if not c.fields and (len(regular) > 1 or c not in regular)]

    def _add_again(self) -> str:
        column = self._dropped.pop(self.rng.randrange(len(self._dropped)))
        self.columns.append(column)
        return f"ALTER TABLE {self.name} ADD {_declared(column)}"

    def _rename(self) -> str:
        column = self.rng.choice(self.clustering)
        self._named += 1
        old, column.name = column.name, f"k{self._named}"
        self._values[column.name] = self._values.pop(old)
        return f"ALTER TABLE {self.name} RENAME {old} TO {column.name}"

    def _set_default_ttl(self) -> str:
        seconds = self.rng.choice((0, *self.ttls_s[-2:]))
        return f"ALTER TABLE {self.name} WITH default_time_to_live = {seconds}"


def _plain(name: str, cql_type: str) -> Column:
    rng_text, rng_int = NATIVE["text"], NATIVE["int"]
    match cql_type:
        case "set<int>":
            return Column(name, cql_type, "regular", lambda r: f"{{{rng_int(r)}}}", element=rng_int)
        case "list<text>":
            return Column(name, cql_type, "regular", lambda r: f"[{rng_text(r)}]", element=rng_text)
        case "map<text, int>":
            return Column(
                name,
                cql_type,
                "regular",
                lambda r: f"{{{rng_text(r)}: {rng_int(r)}}}",
                element=rng_int,
                key=rng_text,
            )
    return Column(name, cql_type, "regular", NATIVE[cql_type])


def _declared(column: Column) -> str:
    return f"{column.name} {column.type}{' static' if column.kind == 'static' else ''}"


class RandomHistory:
    """The statements of one seed, in a keyspace of its own.

    `tables` maps the names of the tables to what is known of them, once all is said.
    """

    def __init__(self, seed: int, statements: int, *, short_ttls: bool = True) -> None:
        self.seed = seed
        self.keyspace = f"history_{seed}"
        self._short_ttls = short_ttls
        self._rng = Random(seed)
        self.tables: dict[str, LivingTable] = {}
        self.statements = [*self._statements(statements)]

    def _statements(self, count: int) -> Iterator[str]:
        rng = self._rng
        yield from TYPES
        for number in range(2):
            yield self._create(f"t{number}")
        if rng.random() < 0.4:
            yield self._create("counts", counter=True)
        changes = sorted(rng.sample(range(count // 5, count), rng.randint(0, 5)))
        for number in range(count):
            if changes and number == changes[0]:
                changes.pop(0)
                yield from self._change()
            table = rng.choice(tuple(self.tables.values()))
            if rng.random() < 0.04:
                yield self._batch_over_tables()
            else:
                yield table.statement()

    def _create(self, name: str, *, counter: bool = False) -> str:
        self.tables[name] = LivingTable(
            self._rng, name, counter=counter, short_ttls=self._short_ttls
        )
        return self.tables[name].cql

    def _change(self) -> Iterator[str]:
        rng = self._rng
        name = rng.choice(tuple(self.tables))
        what = rng.random()
        if what < 0.12:
            yield f"DROP TABLE {name}"
            yield self._create(name, counter=name == "counts")
        elif what < 0.2:
            field = f"f{rng.randrange(1_000_000)}"
            yield f"ALTER TYPE point ADD {field} int"
        elif what < 0.28:
            yield from self._rename_field()
        else:
            yield self.tables[name].change()

    def _rename_field(self) -> Iterator[str]:
        """ALTER TYPE ... RENAME there and back, so that literals keep their names."""
        yield "ALTER TYPE place RENAME n TO number"
        yield "ALTER TYPE place RENAME number TO n"

    def _batch_over_tables(self) -> str:
        plain = [table for table in self.tables.values() if not table.counter]
        writes = [table.write() for table in plain]
        return f"BEGIN BATCH {'; '.join(writes)}; APPLY BATCH"
