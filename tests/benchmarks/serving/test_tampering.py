"""The generated tamperings reach every table and column, all guards and the anchor."""

from pathlib import Path

from benchmarks.serving import tampering
from serving.records.store import Records
from serving.records.tables import APPEND_ONLY, metadata


def test_tamperings_are_generated_over_all_tables_columns_and_guards(tmp_path: Path) -> None:
    records = Records(f"sqlite:///{tmp_path / 'records.db'}")
    records.prepare()
    records.close()
    names = [made.name for made in tampering.generated(tmp_path)]
    assert len(names) >= 200
    for name, table in metadata.tables.items():
        assert f"DELETE of {name}, last" in names
        assert all(f"UPDATE of {name}.{column.name}, first" in names for column in table.columns)
    assert all(f"TRIGGER {table}_no_update dropped" in names for table in APPEND_ONLY)
    assert sum(made.startswith("ANCHOR") for made in names) >= 20
