"""Cases about multi-cell columns: element deltas of lists, sets, maps and user types, and
frozen ones inside.
"""

from __future__ import annotations

from typing import Any

from tests.tools.registry import recorded

Session = Any


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def lists(session: Session) -> None:
    """Lists: assign, append, prepend, set by index, delete by index, remove values,
    overwrite, delete, TTL.
    """
    session.execute(
        "CREATE TABLE t (k int PRIMARY KEY, l list<int>, t list<text>, f "
        "list<frozen<list<int>>>) WITH cdc = true"
    )
    for key in range(4):
        session.execute("INSERT INTO t (k, l, t) VALUES (%s, [1, 2, 3, 2], ['a', 'b'])", (key,))
    session.execute("UPDATE t SET l = l + [4, 5] WHERE k = 0")
    session.execute("UPDATE t SET l = [-1, 0] + l WHERE k = 0")
    session.execute("UPDATE t SET l[1] = 100 WHERE k = 0")
    session.execute("DELETE l[0] FROM t WHERE k = 0")
    session.execute("UPDATE t SET l = l - [2] WHERE k = 1")
    session.execute("UPDATE t SET l = [] WHERE k = 2")
    session.execute("UPDATE t SET l = l + [9] WHERE k = 2")
    session.execute("DELETE l, t FROM t WHERE k = 3")
    session.execute("UPDATE t USING TTL 1000000 SET t = t + ['expires'] WHERE k = 0")
    session.execute("INSERT INTO t (k, t) VALUES (5, ['', 'empty before'])")
    session.execute("UPDATE t SET f = [[1, 2], [], [3]] WHERE k = 6")
    session.execute("UPDATE t SET f = f + [[4]] WHERE k = 6")
    session.execute("UPDATE t SET l = [1, 2, 3] WHERE k = 7")
    session.execute("UPDATE t SET l = l + [4] WHERE k = 8")


def sets(session: Session) -> None:
    """Sets: assign, add, remove, overwrite, delete; fixed and variable elements, an empty
    element.
    """
    session.execute(
        "CREATE TABLE t (k int PRIMARY KEY, i set<int>, s set<text>, f set<frozen<set<int>>>) "
        "WITH cdc = true"
    )
    for key in range(4):
        session.execute("INSERT INTO t (k, i, s) VALUES (%s, {3, 1, -2}, {'b', 'a'})", (key,))
    session.execute("UPDATE t SET i = i + {7, 1}, s = s + {'é', ''} WHERE k = 0")
    session.execute("UPDATE t SET i = i - {3}, s = s - {'missing'} WHERE k = 1")
    session.execute("UPDATE t SET i = {5} WHERE k = 2")
    session.execute("UPDATE t SET i = {}, s = null WHERE k = 3")
    session.execute("DELETE i[1] FROM t WHERE k = 0")
    session.execute("UPDATE t SET f = {{1, 2}, {}} WHERE k = 4")
    session.execute("UPDATE t SET f = f - {{1, 2}} WHERE k = 4")
    session.execute("UPDATE t USING TTL 1000000 SET s = s + {'expires'} WHERE k = 1")


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def maps(session: Session) -> None:
    """Maps: assign, put, put null, remove keys, overwrite, delete; frozen values; several
    columns in one update.
    """
    session.execute(
        "CREATE TABLE t (k int PRIMARY KEY, a map<text, int>, b map<int, text>,"
        " f map<text, frozen<map<text, frozen<list<int>>>>>) WITH cdc = true"
    )
    for key in range(4):
        session.execute(
            "INSERT INTO t (k, a, b) VALUES (%s, {'x': 1, 'y': 2}, {1: 'one', -1: 'minus'})", (key,)
        )
    session.execute("UPDATE t SET a['z'] = 3, b[2] = 'two' WHERE k = 0")
    session.execute("UPDATE t SET a['x'] = null WHERE k = 0")
    session.execute("UPDATE t SET a = a + {'p': 9, 'q': 10} WHERE k = 1")
    session.execute("UPDATE t SET a = a - {'x'} WHERE k = 1")
    session.execute("DELETE a['y'], b[1] FROM t WHERE k = 1")
    session.execute("UPDATE t SET a = {'only': 1}, b = b + {5: 'five'} WHERE k = 2")
    session.execute("UPDATE t SET a = {}, b = null WHERE k = 3")
    session.execute("UPDATE t SET f = {'n': {'m': [1, 2, 3]}} WHERE k = 4")
    session.execute("UPDATE t SET f['o'] = {'p': []} WHERE k = 4")
    session.execute("UPDATE t SET b[7] = '' WHERE k = 4")
    session.execute("DELETE a FROM t USING TIMESTAMP 1000 WHERE k = 0")


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def user_types(session: Session) -> None:
    """User types: multi-cell fields set, nulled and overwritten; frozen ones; tuples; a field
    added by ALTER TYPE.
    """
    session.execute("CREATE TYPE address (street text, number int, tags frozen<set<text>>)")
    session.execute("CREATE TYPE person (name text, home frozen<address>)")
    session.execute('CREATE TYPE "Mixed Case" ("Field One" int, two frozen<tuple<int, text>>)')
    session.execute(
        'CREATE TABLE t (k int PRIMARY KEY, a address, f frozen<address>, p person, m "Mixed Case",'
        " l list<frozen<address>>, u frozen<tuple<int, text, frozen<list<int>>>>) WITH cdc = true"
    )
    session.execute(
        "INSERT INTO t (k, a) VALUES (1, {street: 'High', number: 1, tags: {'a', 'b'}})"
    )
    session.execute("UPDATE t SET a.number = 2 WHERE k = 1")
    session.execute("UPDATE t SET a.street = null WHERE k = 1")
    session.execute(
        "INSERT INTO t (k, a, f) VALUES (2, {street: 'Low'}, {street: 'Frozen', number: 7})"
    )
    session.execute("UPDATE t SET a = {number: 5} WHERE k = 2")
    session.execute("UPDATE t SET p = {name: 'Ann', home: {street: 'Home', number: 3}} WHERE k = 3")
    session.execute("UPDATE t SET p.home = {street: 'New home'} WHERE k = 3")
    session.execute("DELETE a FROM t WHERE k = 2")
    session.execute("UPDATE t SET m = {\"Field One\": 1, two: (2, 'two')} WHERE k = 4")
    session.execute(
        "UPDATE t SET l = [{street: 'in a list', number: 1}], u = (1, 'one', [1, 2]) WHERE k = 4"
    )
    session.execute("INSERT INTO t (k, u) VALUES (5, (1, null, null))")
    session.execute("ALTER TYPE address ADD country text")
    session.execute("UPDATE t SET a.country = 'FR', a.number = 9 WHERE k = 1")
    session.execute(
        "INSERT INTO t (k, a, f) VALUES (6, {street: 's', country: 'DE'}, {street: 'f', country: "
        "'IT'})"
    )
    session.execute("ALTER TYPE address RENAME street TO road")
    session.execute("UPDATE t SET a.road = 'renamed' WHERE k = 6")
    session.execute("UPDATE t USING TTL 1000000 SET a.number = 77 WHERE k = 6")


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def many_multi_cell_columns(session: Session) -> None:
    """Simple and multi-cell columns side by side, names beyond ASCII, deletions on some of
    the columns only.
    """
    session.execute(
        'CREATE TABLE t (k int PRIMARY KEY, zz int, "Écol" int, aa int, b_list list<int>, a_map '
        "map<int, int>,"
        ' "Üset" set<text>, "Case" text) WITH cdc = true'
    )
    session.execute(
        'INSERT INTO t (k, zz, "Écol", aa, b_list, a_map, "Üset", "Case")'
        " VALUES (1, 1, 2, 3, [1], {1: 1}, {'u'}, 'C')"
    )
    session.execute("UPDATE t SET a_map[2] = 2, b_list = [7], zz = 5 WHERE k = 1")
    session.execute('UPDATE t SET "Üset" = "Üset" + {\'v\'}, a_map = null, aa = null WHERE k = 1')
    session.execute(
        "BEGIN BATCH DELETE b_list FROM t WHERE k = 2; UPDATE t SET a_map[3] = 3 WHERE k = 2; "
        "APPLY BATCH"
    )


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def counters(session: Session) -> None:
    """Counters: up, down, several in a row, static, deleted (a counter is not used again
    after that).
    """
    session.execute(
        "CREATE TABLE t (pk int, ck text, c counter, d counter, s counter STATIC, PRIMARY KEY "
        "(pk, ck)) WITH cdc = true"
    )
    for _ in range(5):
        session.execute("UPDATE t SET c = c + 3, d = d - 1 WHERE pk = 1 AND ck = 'a'")
    session.execute("UPDATE t SET c = c - 20 WHERE pk = 1 AND ck = 'b'")
    session.execute("UPDATE t SET s = s + 4 WHERE pk = 1")
    session.execute("UPDATE t SET c = c + 9223372036854775807 WHERE pk = 2 AND ck = 'big'")
    session.execute("UPDATE t SET c = c + 1 WHERE pk = 3 AND ck = 'cell'")
    session.execute("DELETE c FROM t WHERE pk = 3 AND ck = 'cell'")
    session.execute("UPDATE t SET c = c + 1 WHERE pk = 4 AND ck = 'row'")
    session.execute("DELETE FROM t WHERE pk = 4 AND ck = 'row'")
    session.execute(
        "BEGIN COUNTER BATCH UPDATE t SET c = c + 1 WHERE pk = 5 AND ck = 'x';"
        " UPDATE t SET d = d + 2 WHERE pk = 5 AND ck = 'y'; APPLY BATCH"
    )
