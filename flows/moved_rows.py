"""All rows of a database go to another one with the same tables, of SQLite or PostgreSQL, and are compared there.

Values pass through the types of the program whose tables they are, which know both databases. All of it is one
transaction: what does not arrive whole leaves the other database as it was.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from lineact.errors import InputError

BATCH = 1000  # rows
VERSIONS = "alembic_version"
OWN_TABLES = ("sqlite_sequence", "sqlite_stat1", VERSIONS)  # of SQLite and of alembic
Row = dict[str, Any]
Change = Callable[[Row], Row]


def move_rows(metadata: sa.MetaData, source: sa.Engine, target: sa.Engine, change: Change) -> dict[str, int]:
    """Copies every row of every table; what stood in the target's tables goes.

    Args:
        metadata: the tables.
        source: is only read.
        target: has the same tables.
        change: of each row, such as where its artefacts lie; must not change keys.

    Returns:
        Rows by table.

    Raises:
        InputError: where a database has tables that are not among these, or a table arrived with other rows.
    """
    for engine in (source, target):
        _refuse_other_tables(metadata, engine)
    with source.connect() as reading, target.begin() as writing:
        tables = _sorted(metadata)
        with _unchecked_references(writing):
            for table in reversed(tables):
                writing.execute(sa.delete(table))
            for table in tables:
                for batch in _rows(reading, _stored(table)):
                    writing.execute(sa.insert(table), [change(row) for row in batch])
                _empty_json(writing, table)
        _continue_numbers(writing, tables)
        counts = {}
        for table in tables:
            sent, arrived = _told(reading, table, change), _told(writing, table, dict)
            if sent != arrived:
                raise InputError(
                    f"table {table.name}: expected {sent[0]} rows as they were, found {arrived[0]}"
                    f"{'' if sent[0] != arrived[0] else ' that differ'}: did something write meanwhile? End all runs, "
                    "servers and pages, and give the command again. Nothing was changed"
                )
            counts[table.name] = arrived[0]
    return counts


def same_rows(metadata: sa.MetaData, source: sa.Engine, target: sa.Engine, change: Change) -> dict[str, int] | None:
    """Rows by table where the target has just what `move_rows` would bring; None where it has not.

    Args:
        metadata: see `move_rows`.
        source: likewise.
        target: likewise.
        change: likewise.
    """
    counts = {}
    with source.connect() as reading, target.connect() as writing:
        for table in _sorted(metadata):
            sent, arrived = _told(reading, table, change), _told(writing, table, dict)
            if sent != arrived:
                return None
            counts[table.name] = arrived[0]
    return counts


def revision_of(engine: sa.Engine) -> str:
    """Which layout of its tables a database has."""
    with engine.connect() as connection:
        return ", ".join(sorted(connection.execute(sa.text(f"SELECT version_num FROM {VERSIONS}")).scalars()))  # noqa: S608


def count_of(metadata: sa.MetaData, engine: sa.Engine, first: Mapping[str, int | None]) -> int:
    """Rows beyond those that a new database begins with.

    Args:
        metadata: the tables.
        engine: the database.
        first: how many rows of a table are there from the beginning; None for any number.
    """
    count = 0
    with engine.connect() as connection:
        for table in metadata.tables.values():
            allowed = first.get(table.name, 0)
            if allowed is not None:
                found = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                count += max(found - allowed, 0)
    return count


def _refuse_other_tables(metadata: sa.MetaData, engine: sa.Engine) -> None:
    """Lets a database through that has these tables; others, which migrations leave behind, must be empty."""
    found = set(sa.inspect(engine).get_table_names())
    other = sorted(found - set(metadata.tables) - set(OWN_TABLES))
    missing = sorted(set(metadata.tables) - found)
    with engine.connect() as connection:
        filled = [
            name
            for name in other
            if connection.execute(sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)).first()
        ]
    if filled or missing:
        raise InputError(
            f"{engine.url.render_as_string()}: expected the tables of this version, found {filled or 'none'} beside "
            f"them and {missing or 'none'} missing; is it another program's database, or another version's?"
        )


def _sorted(metadata: sa.MetaData) -> list[sa.Table]:
    return sorted(metadata.tables.values(), key=lambda table: table.name)


def _stored(table: sa.Table) -> list[sa.Column[Any]]:
    """Columns that hold values of their own."""
    return [column for column in table.columns if column.computed is None]


def _rows(connection: sa.Connection, columns: list[sa.Column[Any]]) -> Iterator[list[Row]]:
    asked = sa.select(*columns).execution_options(yield_per=BATCH)
    for part in connection.execute(asked).partitions():
        yield [dict(zip((column.key for column in columns), row, strict=True)) for row in part]


def _told(connection: sa.Connection, table: sa.Table, change: Change) -> tuple[int, int]:
    """How many rows, and a sum over their hashes, which no order of rows changes."""
    count = total = 0
    for batch in _rows(connection, _stored(table)):
        for row in batch:
            text = repr([(name, _plain(value)) for name, value in sorted(change(row).items())])
            total += int.from_bytes(hashlib.sha256(text.encode()).digest())
            count += 1
    return count, total


def _plain(value: Any) -> Any:
    """A value in one form, whichever database it comes from."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "model_dump"):  # a model of pydantic
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, float) and value.is_integer():
        return int(value)  # JSON and numeric columns may tell 1 for 1.0
    return value


@contextlib.contextmanager
def _unchecked_references(connection: sa.Connection) -> Iterator[None]:
    """Within it rows may come in any order: references are checked at its end. SQLite checks none unless asked to."""
    if connection.dialect.name != "postgresql":
        yield
        return
    found = connection.execute(
        sa.text(
            "SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint "
            "WHERE contype = 'f' AND NOT condeferrable AND connamespace = current_schema()::regnamespace"
        )
    ).all()
    for table, name in found:
        connection.execute(sa.text(f"ALTER TABLE {table} ALTER CONSTRAINT {name} DEFERRABLE"))
    connection.execute(sa.text("SET CONSTRAINTS ALL DEFERRED"))
    yield
    connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
    for table, name in found:
        connection.execute(sa.text(f"ALTER TABLE {table} ALTER CONSTRAINT {name} NOT DEFERRABLE"))


def _empty_json(connection: sa.Connection, table: sa.Table) -> None:
    """SQLAlchemy writes JSON's own null where a column of JSON is empty."""
    for column in table.columns:
        if isinstance(column.type, sa.JSON) and not column.type.none_as_null:
            said_null = sa.cast(column, sa.Text) == "null"
            connection.execute(sa.update(table).where(said_null).values({column: sa.null()}))


def _continue_numbers(connection: sa.Connection, tables: list[sa.Table]) -> None:
    """Lets PostgreSQL's counters go on after the greatest number that came."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables:
        for column in table.primary_key:
            if not isinstance(column.type, sa.Integer):
                continue
            asked = sa.select(sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name))
            sequence = connection.execute(asked).scalar_one()
            greatest = connection.execute(sa.select(sa.func.max(column))).scalar_one()
            if sequence is not None and greatest is not None:
                connection.execute(sa.select(sa.func.setval(sequence, max(int(greatest), 1))))
