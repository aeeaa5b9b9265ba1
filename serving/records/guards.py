"""The triggers that refuse changes of records, by their table and their text; a test compares them with the migrations."""

from __future__ import annotations

from sqlalchemy import Connection, text

from serving.records.tables import APPEND_ONLY, NEVER_CHANGED, metadata

_FUNCTION = " BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END "
_PG_TRIGGERS = text(
    "SELECT t.tgname, c.relname, pg_get_triggerdef(t.oid, true), t.tgenabled FROM pg_trigger t "
    "JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace"
)
_PG_FUNCTIONS = text(
    "SELECT p.prosrc, l.lanname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.proname = "
    "'batchguard_append_only' AND p.pronamespace = current_schema()::regnamespace"
)
_PG_RULES = text("SELECT rulename, tablename FROM pg_rules WHERE schemaname = current_schema()")
_IN_SQLITE = "CREATE TRIGGER {name} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
_IN_POSTGRESQL = (
    "CREATE TRIGGER {table}_kept BEFORE {verb} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION batchguard_append_only()"
)
_Guards = dict[str, tuple[str, str]]


def guard_faults(connection: Connection) -> list[str]:
    """What is wrong with the triggers; empty if each is there, as it was made, and no other one is.

    Raises:
        SQLAlchemyError: The database cannot be read.
    """
    is_postgresql = connection.dialect.name == "postgresql"
    wanted = _postgresql_guards() if is_postgresql else _sqlite_guards()
    found = _found_in_postgresql(connection) if is_postgresql else _found_in_sqlite(connection)
    gone = sorted({wanted[name][0] for name in wanted.keys() - found.keys()})
    faults = [f"the guard against change is gone from {', '.join(gone)}"] if gone else []
    changed = sorted(name for name in wanted.keys() & found.keys() if found[name] != wanted[name])
    faults += [f"the guard {name} of {wanted[name][0]} was changed" for name in changed]
    faults += [
        f"trigger or rule {name} of {found[name][0]} is none of this software"
        for name in sorted(found.keys() - wanted.keys())
    ]
    if is_postgresql and [tuple(row) for row in connection.execute(_PG_FUNCTIONS)] != [(_FUNCTION, "plpgsql")]:
        faults.append("the function batchguard_append_only of the guards was changed")
    return faults


def _sqlite_guards() -> _Guards:
    verbs = [(table, verb) for table in APPEND_ONLY for verb in ("UPDATE", "DELETE")]
    verbs += [(table, "UPDATE") for table in NEVER_CHANGED]
    return {
        f"{table}_no_{verb.lower()}": (
            table,
            _IN_SQLITE.format(table=table, verb=verb, name=f"{table}_no_{verb.lower()}"),
        )
        for table, verb in verbs
    }


def _postgresql_guards() -> _Guards:
    verbs = dict.fromkeys(APPEND_ONLY, "DELETE OR UPDATE OR TRUNCATE")
    verbs |= dict.fromkeys(NEVER_CHANGED, "UPDATE OR TRUNCATE")
    return {f"{table}_kept": (table, _IN_POSTGRESQL.format(table=table, verb=verb)) for table, verb in verbs.items()}


def _found_in_sqlite(connection: Connection) -> _Guards:
    found = connection.execute(text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"))
    return {row.name: (row.tbl_name, row.sql) for row in found}


def _found_in_postgresql(connection: Connection) -> _Guards:
    """Triggers and rules; one that is disabled, or fires only for replicas, has another text."""
    guards: _Guards = {}
    for name, table, definition, enabled in connection.execute(_PG_TRIGGERS):
        if table in metadata.tables:
            guards[name] = (table, definition if enabled in ("O", b"O", "A", b"A") else f"{definition} ({enabled})")
    for name, table in connection.execute(_PG_RULES):
        if table in metadata.tables:
            guards[f"rule {name}"] = (table, "rule")
    return guards
