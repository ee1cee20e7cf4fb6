"""Where definitions come from that the log at hand does not tell: history in PostgreSQL, the node.

It changes the schema log only; relations follow elsewhere.
"""

from __future__ import annotations

import time
from typing import Final

import structlog

from cdc_tail import node_schema
from cdc_tail.errors import SourceUnavailable
from cdc_tail.intake import Question
from cdc_tail.log import error_fields
from cdc_tail.settings import CassandraSettings
from cdc_tail.writer import Writer
from parsers.schema_log import SchemaLog
from sinks.postgres import history

log = structlog.get_logger()

# A node that does not know a table, or does not answer, is not asked again at once.
ASK_AGAIN_SECONDS: Final = 5.0


class SchemaGuide:
    """Fills a schema log at the start and when a mutation's table is not known."""

    def __init__(self, schema: SchemaLog, cassandra: CassandraSettings | None) -> None:
        """`cassandra` None: there is no node to ask (an offline replay)."""
        self._schema = schema
        self._cassandra = cassandra
        self._asked_at = float("-inf")
        self.has_asked_node = cassandra is None
        self.cdc_total_space_bytes: int | None = None
        if cassandra is not None and cassandra.cdc_total_space is not None:
            self.cdc_total_space_bytes = int(cassandra.cdc_total_space)

    def adopt(self, cassandra: CassandraSettings) -> None:
        """The node is asked with these settings from now on."""
        self._cassandra = cassandra

    def bring_up(self, writer: Writer) -> None:
        """Connect, and bring cdc-tail's tables and the mirrors up to what is known.

        For who holds no lease. Raises SourceUnavailable, SinkUnavailable, SchemaMismatch.
        """

        def act() -> None:
            writer.install()
            self.seed(writer)
            writer.update_mirrors()

        writer.despite_conflicts(act)

    def seed(self, writer: Writer) -> None:
        """Learn what earlier runs recorded and what the node has now, if it answers."""
        self._read_history(writer)
        self.ask_node()

    def ask_node(self) -> bool:
        """Learn the node's present schema, if it answers; whether it told anything new.

        Not more often than every few seconds.
        """
        if self._cassandra is None or time.monotonic() - self._asked_at < ASK_AGAIN_SECONDS:
            return False
        try:
            return self._ask(self._cassandra)
        except SourceUnavailable as error:
            log.warning("the node can't be asked for its schema", **error_fields(error))
            return False
        finally:
            self._asked_at = time.monotonic()

    def learn(self, question: Question, writer: Writer) -> bool:
        """Find out what an unknown table or column is; whether it is known now."""
        self._read_history(writer)
        if not self._explains(question):
            self.ask_node()
        return self._explains(question)

    def _read_history(self, writer: Writer) -> None:
        history.seed(self._schema, writer.query(history.definitions))

    def _ask(self, cassandra: CassandraSettings) -> bool:
        told = node_schema.ask(cassandra)
        changed = self._schema.refresh(told.updates, told.settled_us)
        if self.cdc_total_space_bytes is None:
            self.cdc_total_space_bytes = told.cdc_total_space_bytes
        self.has_asked_node = True
        return bool(changed)

    def _explains(self, question: Question) -> bool:
        if question.table_id is None:
            return False
        table = self._schema.schema.by_id(question.table_id)
        if table is None:
            return False
        column = question.outcome.column
        names = {one.name_bytes for one in table.columns}
        return not column or column in names or column in table.dropped
