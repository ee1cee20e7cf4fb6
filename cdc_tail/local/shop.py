"""A small shop in Cassandra: its tables, and one random write at a time; not when to write."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

SCHEMA = (
    "CREATE TYPE IF NOT EXISTS address (street text, city text, country text)",
    """CREATE TABLE IF NOT EXISTS customers (
        customer_id uuid PRIMARY KEY, name text, email text, phone text, born date,
        home frozen<address>, tags frozen<set<text>>, active boolean, revision bigint
    ) WITH cdc = true""",
    """CREATE TABLE IF NOT EXISTS orders (
        customer_id uuid, placed_at timestamp, order_id uuid, status text, total decimal,
        currency ascii, client inet, revision bigint,
        PRIMARY KEY (customer_id, placed_at, order_id)
    ) WITH CLUSTERING ORDER BY (placed_at DESC, order_id ASC) AND cdc = true""",
    """CREATE TABLE IF NOT EXISTS order_lines (
        order_id uuid, line smallint, sku text, quantity int, price decimal, revision bigint,
        PRIMARY KEY (order_id, line)
    ) WITH cdc = true""",
    """CREATE TABLE IF NOT EXISTS inventory (
        warehouse text, sku text, on_hand int, reserved int, weight_kg double,
        counted_at timestamp, revision bigint,
        PRIMARY KEY ((warehouse, sku))
    ) WITH cdc = true""",
)
TABLES = ("customers", "orders", "order_lines", "inventory")
NEW_COLUMN = ("customers", "loyalty_points", "int")
STATUSES = ("placed", "paid", "packed", "shipped", "delivered", "returned")
CITIES = (("Lyon", "FR"), ("Łódź", "PL"), ("Kyoto", "JP"), ("São Paulo", "BR"), ("Leeds", "GB"))
NAMES = ("Ada", "Björn", "Chidi", "Đặng", "Émilie", "Fatima", "Grace", "李雷", "O'Neill")
SKUS = tuple(f"SKU-{number:04}" for number in range(400))
WAREHOUSES = ("north", "south", "east")
MOST_REMEMBERED = 5_000


@dataclass(frozen=True, slots=True)
class Write:
    """One write to be sent: the statement, and how to find its effect in a mirror.

    The row of `table` with primary key `key` holds `revision` (or, for a "delete", is gone) once
    the write is visible, unless a later write has changed the row again: revisions only grow.
    `rows` counts the rows that the statement touches.
    """

    table: str
    kind: str
    key: dict[str, Any]
    revision: int
    rows: int
    statement: Any


class Shop:
    """The shop's state as far as its own random writes need it. Not safe for several threads."""

    def __init__(self, session: Any, keyspace: str = "shop", seed: int | None = None) -> None:
        """`session` is a cassandra-driver session; the keyspace is created by `create`."""
        self.session = session
        self.keyspace = keyspace
        self.evolved = False
        self._rng = random.Random(seed)
        self._revision = 0
        self._prepared: dict[str, Any] = {}
        self._customers: list[uuid.UUID] = []
        self._orders: list[tuple[uuid.UUID, datetime, uuid.UUID]] = []

    def create(self, replication_factor: int = 1) -> None:
        """Create the keyspace and its tables where they are missing."""
        self.session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {self.keyspace} WITH replication = "
            f"{{'class': 'SimpleStrategy', 'replication_factor': {replication_factor}}}"
        )
        self.session.set_keyspace(self.keyspace)
        for statement in SCHEMA:
            self.session.execute(statement)
        self.session.cluster.register_user_type(self.keyspace, "address", Address)

    def evolve(self) -> None:
        """Add a column to `customers` while traffic runs; later writes fill it."""
        table, column, cql_type = NEW_COLUMN
        self.session.execute(f"ALTER TABLE {table} ADD {column} {cql_type}")
        self.evolved = True

    def next_write(self) -> Write:
        """The next random write: about half inserts, a tenth deletes, updates for the rest."""
        self._revision += 1
        if len(self._customers) < 10:
            return self._insert_customer()
        if len(self._orders) < 10:
            return self._place_order()
        makers = (
            (self._insert_customer, 15),
            (self._place_order, 30),
            (self._count_inventory, 10),
            (self._update_customer, 15),
            (self._move_order, 20),
            (self._forget_phone, 3),
            (self._delete_order, 5),
            (self._delete_customer, 2),
        )
        (make,) = self._rng.choices([m for m, _ in makers], [weight for _, weight in makers])
        return make()

    def _insert_customer(self) -> Write:
        rng = self._rng
        customer = uuid.UUID(int=rng.getrandbits(128), version=4)
        self._remember(self._customers, customer)
        name = rng.choice(NAMES)
        city, country = rng.choice(CITIES)
        values: dict[str, Any] = {
            "customer_id": customer,
            "name": name,
            "email": f"{name.lower()}.{customer.hex[:6]}@example.org",
            "phone": f"+{rng.randrange(10**9, 10**10)}",
            "born": date(1950, 1, 1) + timedelta(days=rng.randrange(20_000)),
            "home": Address(f"{rng.randrange(1, 200)} Main St", city, country),
            "tags": set(rng.sample(("new", "vip", "b2b", "trial"), rng.randrange(3))),
            "active": True,
        }
        if self.evolved:
            values["loyalty_points"] = rng.randrange(1000)
        return self._insert("customers", values, {"customer_id": customer})

    def _place_order(self) -> Write:
        """A logged batch: the order and its lines, in two tables."""
        from cassandra.query import BatchStatement

        rng = self._rng
        customer = rng.choice(self._customers)
        order = uuid.UUID(int=rng.getrandbits(128), version=4)
        # Cassandra keeps milliseconds.
        placed_at = datetime.now(UTC).replace(tzinfo=None)
        placed_at = placed_at.replace(microsecond=placed_at.microsecond // 1000 * 1000)
        self._remember(self._orders, (customer, placed_at, order))
        key = {"customer_id": customer, "placed_at": placed_at, "order_id": order}
        prices = [Decimal(rng.randrange(100, 100_000)).scaleb(-2) for _ in range(rng.randint(1, 3))]
        head = self._insert(
            "orders",
            key
            | {
                "status": "placed",
                "total": sum(prices, Decimal(0)),
                "currency": "EUR",
                "client": f"198.51.100.{rng.randrange(256)}",
            },
            key,
        )
        batch = BatchStatement()
        batch.add(head.statement)
        for line, price in enumerate(prices):
            values = {
                "order_id": order,
                "line": line,
                "sku": rng.choice(SKUS),
                "quantity": 1,
                "price": price,
            }
            batch.add(self._insert("order_lines", values, {}).statement)
        return Write("orders", "insert", key, self._revision, 1 + len(prices), batch)

    def _count_inventory(self) -> Write:
        rng = self._rng
        key = {"warehouse": rng.choice(WAREHOUSES), "sku": rng.choice(SKUS)}
        values = {
            "on_hand": rng.randrange(500),
            "reserved": rng.randrange(20),
            "weight_kg": round(rng.uniform(0.01, 30), 3),
            "counted_at": datetime.now(UTC),
        }
        return self._insert("inventory", key | values, key)

    def _update_customer(self) -> Write:
        rng = self._rng
        values: dict[str, Any] = {"active": rng.random() < 0.8}
        if self.evolved:
            values["loyalty_points"] = rng.randrange(1000)
        return self._update("customers", values, {"customer_id": rng.choice(self._customers)})

    def _move_order(self) -> Write:
        values = {"status": self._rng.choice(STATUSES)}
        return self._update("orders", values, self._some_order())

    def _forget_phone(self) -> Write:
        key = {"customer_id": self._rng.choice(self._customers)}
        return self._update("customers", {"phone": None}, key)

    def _delete_order(self) -> Write:
        key = self._some_order()
        self._orders.remove((key["customer_id"], key["placed_at"], key["order_id"]))
        return self._delete("orders", key)

    def _delete_customer(self) -> Write:
        customer = self._customers.pop(self._rng.randrange(len(self._customers)))
        return self._delete("customers", {"customer_id": customer})

    def _some_order(self) -> dict[str, Any]:
        return dict(
            zip(
                ("customer_id", "placed_at", "order_id"),
                self._rng.choice(self._orders),
                strict=True,
            )
        )

    def _remember(self, known: list[Any], item: Any) -> None:
        """Keep the list bounded: what falls out is never updated or deleted again."""
        if len(known) >= MOST_REMEMBERED:
            known[self._rng.randrange(len(known))] = item
        else:
            known.append(item)

    def _insert(self, table: str, values: dict[str, Any], key: dict[str, Any]) -> Write:
        values = values | {"revision": self._revision}
        marks = ", ".join("?" * len(values))
        query = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"
        statement = self._bind(query, list(values.values()))
        return Write(table, "insert", key, self._revision, 1, statement)

    def _update(self, table: str, values: dict[str, Any], key: dict[str, Any]) -> Write:
        values = values | {"revision": self._revision}
        sets = ", ".join(f"{name} = ?" for name in values)
        query = f"UPDATE {table} SET {sets} WHERE {_equals(key)}"
        statement = self._bind(query, [*values.values(), *key.values()])
        return Write(table, "update", key, self._revision, 1, statement)

    def _delete(self, table: str, key: dict[str, Any]) -> Write:
        statement = self._bind(f"DELETE FROM {table} WHERE {_equals(key)}", list(key.values()))
        return Write(table, "delete", key, self._revision, 1, statement)

    def _bind(self, query: str, values: list[Any]) -> Any:
        if query not in self._prepared:
            self._prepared[query] = self.session.prepare(query)
        return self._prepared[query].bind(values)


@dataclass(frozen=True, slots=True)
class Address:
    """The driver's view of the type `address`."""

    street: str
    city: str
    country: str


def _equals(key: dict[str, Any]) -> str:
    return " AND ".join(f"{name} = ?" for name in key)
