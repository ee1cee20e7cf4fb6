"""Tables from a file of CQL, as DESCRIBE or a person writes it; other statements are passed over.

Nothing but definitions is read, so an id is known only where `WITH ID = ...` gives it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from cdc_tail.errors import ConfigError
from parsers.cql_tokens import Statement, statements
from parsers.cql_types import Native, UdtType
from parsers.schema import Column, ColumnKind, DroppedColumn, Table
from parsers.schema_derive import DEFAULT_GC_GRACE_SECONDS, UNBOUND, resolve_types
from parsers.type_text import parse_type

# DESCRIBE puts tables with COMPACT STORAGE into a comment, behind a warning and an empty line.
_OMITTED: Final = re.compile(r"/\*(\s*Warning: [^\n]* omitted .*?\n\n)(.*?)\*/", re.DOTALL)

_TYPE_ENDS: Final = (",", "STATIC", "PRIMARY", "MASKED", "USING")


@dataclass(slots=True)
class _Draft:
    """A table while statements still change it: types are texts, as types may change, too."""

    keyspace: str
    name: str
    line: int
    columns: dict[str, str] = field(default_factory=dict)
    statics: set[str] = field(default_factory=set)
    partition_key: list[str] = field(default_factory=list)
    clustering: list[str] = field(default_factory=list)
    descending: set[str] = field(default_factory=set)
    dropped: dict[str, tuple[str, bool, int]] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    is_compact: bool = False
    is_view: bool = False


def parse_cql(text: str) -> list[Table]:
    """The tables and views that exist after all statements of `text`.

    A table without `WITH ID` has the id UNBOUND. One of which the text does not say whether it is
    a cdc table counts as one: DESCRIBE says nothing of it before 4.0, and whoever hands over a
    definition wants the table. Raises ConfigError naming the line of a mistake.
    """
    reader = _Reader()
    for statement in statements(_OMITTED.sub(_uncommented, text)):
        reader.read(statement)
    return [_table(draft, reader.types) for draft in reader.tables.values()]


def _uncommented(omitted: re.Match[str]) -> str:
    """The commented statement with the lines of the warning empty: line numbers stay true."""
    return "\n" * omitted[1].count("\n") + omitted[2]


class _Reader:
    """Applies statements to drafts, one after the other."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], _Draft] = {}
        self.types: dict[tuple[str, str], dict[str, str]] = {}
        self._keyspace = ""
        self._verbs: dict[tuple[str, ...], Callable[[Statement], None]] = {
            ("USE",): self._use,
            ("CREATE", "TYPE"): self._create_type,
            ("CREATE", "TABLE"): self._create_table,
            ("CREATE", "COLUMNFAMILY"): self._create_table,
            ("CREATE", "MATERIALIZED", "VIEW"): self._create_view,
            ("ALTER", "TYPE"): self._alter_type,
            ("ALTER", "TABLE"): self._alter_table,
            ("ALTER", "COLUMNFAMILY"): self._alter_table,
            ("ALTER", "MATERIALIZED", "VIEW"): self._alter_table,
            ("DROP", "TYPE"): lambda s: self._drop(s, self.types),
            ("DROP", "TABLE"): lambda s: self._drop(s, self.tables),
            ("DROP", "COLUMNFAMILY"): lambda s: self._drop(s, self.tables),
            ("DROP", "MATERIALIZED", "VIEW"): lambda s: self._drop(s, self.tables),
            ("DROP", "KEYSPACE"): self._drop_keyspace,
        }

    def read(self, statement: Statement) -> None:
        """Apply one statement, or pass it over."""
        for verb, apply in self._verbs.items():
            if statement.accept(*verb):
                apply(statement)
                return

    def _named(self, statement: Statement) -> tuple[str, str]:
        """A name with its keyspace; IF [NOT] EXISTS before it is passed."""
        if not statement.accept("IF", "NOT", "EXISTS"):
            statement.accept("IF", "EXISTS")
        name = statement.name()
        if statement.accept("."):
            return name, statement.name()
        if not self._keyspace:
            raise statement.error(f"{name} is in no keyspace; write keyspace.{name} or USE one")
        return self._keyspace, name

    def _use(self, statement: Statement) -> None:
        self._keyspace = statement.name()

    def _create_type(self, statement: Statement) -> None:
        name = self._named(statement)
        statement.expect("(")
        fields = self.types.setdefault(name, {})
        while not statement.accept(")"):
            field_name = statement.name()
            fields[field_name] = statement.text_until(",")
            statement.accept(",")

    def _alter_type(self, statement: Statement) -> None:
        name = self._named(statement)
        if name not in self.types:
            raise statement.error(f"type {'.'.join(name)} does not exist")
        fields = self.types[name]
        if statement.accept("ADD"):
            for field_name, text, _ in _declarations(statement):
                fields[field_name] = text
        elif statement.accept("RENAME"):
            renamed = _renames(statement)
            self.types[name] = {renamed.get(old, old): text for old, text in fields.items()}
        elif statement.accept("ALTER"):
            field_name = statement.name()
            statement.expect("TYPE")
            fields[field_name] = statement.text_until(",")

    def _create_table(self, statement: Statement) -> None:
        line = statement.peek.line
        draft = _Draft(*self._named(statement), line)
        if (draft.keyspace, draft.name) in self.tables:
            return
        if statement.accept("LIKE"):
            other = self._existing(statement)
            draft.columns = dict(other.columns)
            draft.statics = set(other.statics)
            draft.partition_key, draft.clustering = other.partition_key, other.clustering
            draft.descending = set(other.descending)
            draft.options = other.options | {"id": ""}
        else:
            statement.expect("(")
            while not statement.accept(")"):
                if statement.accept("PRIMARY", "KEY"):
                    _primary_key(statement, draft)
                else:
                    _column(statement, draft)
                if not statement.accept(",") and statement.peek.word != ")":
                    raise statement.error(f"',' expected, found {statement.peek.text!r}")
        _options(statement, draft)
        if not draft.partition_key:
            raise statement.error(f"table {draft.name} has no primary key")
        self.tables[draft.keyspace, draft.name] = draft

    def _create_view(self, statement: Statement) -> None:
        line = statement.peek.line
        draft = _Draft(*self._named(statement), line, is_view=True)
        statement.expect("AS", "SELECT")
        selected = None if statement.accept("*") else [statement.name()]
        while selected is not None and statement.accept(","):
            selected.append(statement.name())
        statement.expect("FROM")
        base = self._existing(statement)
        chosen = base.columns if selected is None else selected
        draft.columns = {name: base.columns[name] for name in chosen if name in base.columns}
        while not statement.accept("PRIMARY", "KEY"):
            statement.take()
        _primary_key(statement, draft)
        # A view holds its key columns whether or not they are selected again.
        keys = draft.partition_key + draft.clustering
        draft.columns |= {name: base.columns[name] for name in keys if name in base.columns}
        _options(statement, draft)
        self.tables[draft.keyspace, draft.name] = draft

    def _existing(self, statement: Statement) -> _Draft:
        name = self._named(statement)
        if name not in self.tables:
            raise statement.error(f"table {'.'.join(name)} does not exist")
        return self.tables[name]

    def _alter_table(self, statement: Statement) -> None:
        draft = self._existing(statement)
        if statement.accept("ADD"):
            for name, text, is_static in _declarations(statement):
                draft.columns[name] = text
                if is_static:
                    draft.statics.add(name)
        elif statement.accept("DROP", "COMPACT", "STORAGE"):
            draft.is_compact = False
        elif statement.accept("DROP"):
            _drop_columns(statement, draft)
        elif statement.accept("RENAME"):
            renamed = _renames(statement)
            draft.columns = {renamed.get(n, n): text for n, text in draft.columns.items()}
            draft.partition_key = [renamed.get(name, name) for name in draft.partition_key]
            draft.clustering = [renamed.get(name, name) for name in draft.clustering]
            draft.descending = {renamed.get(name, name) for name in draft.descending}
        elif statement.accept("ALTER"):
            name = statement.name()
            if statement.accept("TYPE"):
                draft.columns[name] = statement.text_until(",")
        else:
            _options(statement, draft)

    def _drop(self, statement: Statement, kept: MutableMapping[tuple[str, str], Any]) -> None:
        kept.pop(self._named(statement), None)

    def _drop_keyspace(self, statement: Statement) -> None:
        statement.accept("IF", "EXISTS")
        keyspace = statement.name()
        self.tables = {name: draft for name, draft in self.tables.items() if name[0] != keyspace}
        self.types = {name: fields for name, fields in self.types.items() if name[0] != keyspace}


def _column(statement: Statement, draft: _Draft) -> None:
    name = statement.name()
    draft.columns[name] = statement.text_until(*_TYPE_ENDS)
    if statement.accept("STATIC"):
        draft.statics.add(name)
    if statement.accept("PRIMARY", "KEY"):
        draft.partition_key = [name]
    statement.text_until(",")  # MASKED WITH ...


def _declarations(statement: Statement) -> list[tuple[str, str, bool]]:
    """Columns or fields to add, in parentheses or not: name, type, whether static."""
    statement.accept("IF", "NOT", "EXISTS")
    in_parentheses = statement.accept("(")
    added = []
    while not statement.is_done and not (in_parentheses and statement.accept(")")):
        name = statement.name()
        text = statement.text_until(*_TYPE_ENDS)
        added.append((name, text, statement.accept("STATIC")))
        statement.text_until(",")
        statement.accept(",")
    return added


def _renames(statement: Statement) -> dict[str, str]:
    statement.accept("IF", "EXISTS")
    renamed = {}
    while True:
        old = statement.name()
        statement.expect("TO")
        renamed[old] = statement.name()
        if not statement.accept("AND"):
            return renamed


def _drop_columns(statement: Statement, draft: _Draft) -> None:
    statement.accept("IF", "EXISTS")
    names = statement.names() if statement.peek.word == "(" else [statement.name()]
    while statement.accept(","):
        names.append(statement.name())
    # Without a time nothing is known to be older than the drop.
    dropped_us = -(2**63)
    if statement.accept("USING", "TIMESTAMP"):
        token = statement.take()
        try:
            dropped_us = int(token.text)
        except ValueError as error:
            raise statement.error(f"{token.text!r} is no timestamp") from error
    for name in names:
        if name in draft.columns:
            draft.dropped[name] = (draft.columns.pop(name), name in draft.statics, dropped_us)
            draft.statics.discard(name)


def _primary_key(statement: Statement, draft: _Draft) -> None:
    statement.expect("(")
    draft.partition_key = statement.names() if statement.peek.word == "(" else [statement.name()]
    draft.clustering = []
    while statement.accept(","):
        draft.clustering.append(statement.name())
    statement.expect(")")


def _options(statement: Statement, draft: _Draft) -> None:
    """WITH and the options behind it; those that change nothing for us are passed over."""
    if not statement.accept("WITH"):
        return
    while not statement.is_done:
        if statement.accept("COMPACT", "STORAGE"):
            draft.is_compact = True
        elif statement.accept("CLUSTERING", "ORDER", "BY"):
            statement.expect("(")
            while not statement.accept(")"):
                name = statement.name()
                if statement.accept("DESC"):
                    draft.descending.add(name)
                else:
                    statement.accept("ASC")
                statement.accept(",")
        else:
            name = statement.name()
            statement.expect("=")
            draft.options[name] = statement.text_until("AND").strip("'")
        if not statement.accept("AND") and not statement.is_done:
            raise statement.error(f"AND expected, found {statement.peek.text!r}")


def _table(draft: _Draft, types: Mapping[tuple[str, str], dict[str, str]]) -> Table:
    """The finished table; raises ConfigError where its columns and types don't fit together."""
    keyspace = draft.keyspace
    own = {name: fields for (of, name), fields in types.items() if of == keyspace}
    try:
        return _built(draft, resolve_types(keyspace, own))
    except ValueError as error:
        raise ConfigError(
            f"CQL line {draft.line}: table {keyspace}.{draft.name}: {error}"
        ) from error


def _built(draft: _Draft, udts: Mapping[str, UdtType]) -> Table:
    key = draft.partition_key + draft.clustering
    if missing := [name for name in key if name not in draft.columns]:
        raise ValueError(f"its primary key names {missing[0]}, which is no column")
    statics = set(draft.statics)
    is_static_compact = draft.is_compact and not draft.clustering
    if is_static_compact:
        # As it is stored: the user's columns are static, and two columns are hidden.
        statics = draft.columns.keys() - key
    columns: dict[ColumnKind, list[Column]] = {
        "partition_key": [],
        "clustering": [],
        "static": [],
        "regular": [],
    }
    for name in [*key, *(name for name in draft.columns if name not in key)]:
        cql_type = parse_type(draft.columns[name], udts, draft.keyspace)
        kind: ColumnKind = "static" if name in statics else "regular"
        if name in key:
            kind = "partition_key" if name in draft.partition_key else "clustering"
            cql_type = cql_type.freeze()
        position = len(columns[kind]) if name in key else -1
        columns[kind].append(
            Column(name, name.encode(), kind, position, cql_type, name in draft.descending)
        )
    is_counter = any(c.type == Native("counter") for kind in columns.values() for c in kind)
    flags = {"counter"} if is_counter else set()
    if is_static_compact:
        columns["clustering"] = [_hidden("column1", "clustering", "text")]
        columns["regular"] = [_hidden("value", "regular", "counter" if is_counter else "blob")]
    elif draft.is_compact:
        flags |= {"dense", "compound"} if len(draft.clustering) > 1 else {"dense"}
        columns["regular"] = columns["regular"] or [_hidden("value", "regular", "empty")]
    else:
        flags.add("compound")
    return Table(
        draft.keyspace,
        draft.name,
        UUID(draft.options.get("id") or UNBOUND.hex),
        tuple(columns["partition_key"]),
        tuple(columns["clustering"]),
        tuple(columns["static"]),
        tuple(columns["regular"]),
        cdc=draft.options.get("cdc", "true").lower() == "true",
        gc_grace_seconds=int(draft.options.get("gc_grace_seconds", DEFAULT_GC_GRACE_SECONDS)),
        default_ttl=int(draft.options.get("default_time_to_live", 0)),
        flags=frozenset(flags),
        dropped=_dropped(draft, udts),
        is_view=draft.is_view,
    )


def _hidden(name: str, kind: ColumnKind, native: str) -> Column:
    position = 0 if kind == "clustering" else -1
    return Column(name, name.encode(), kind, position, Native(native))


def _dropped(draft: _Draft, udts: Mapping[str, UdtType]) -> dict[bytes, DroppedColumn]:
    return {
        name.encode(): DroppedColumn(
            name,
            name.encode(),
            "static" if is_static else "regular",
            parse_type(text, udts, draft.keyspace),
            dropped_us,
        )
        for name, (text, is_static, dropped_us) in draft.dropped.items()
    }
