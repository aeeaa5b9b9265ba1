"""What a data directory of 0.1.0 holds, read without batchguard, by the script that makes it and by the tests alike."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

STORES = ("history", "features", "scores")
SCORE = "score_id, batch_id, as_of_us, scored_us, rows_seq, inline_sha256, body_sha256, supersedes, principal"


def delta_tables(data_dir: Path, process: str) -> Iterator[tuple[str, Path]]:
    """Name and folder of every table of the Parquet stores."""
    for store in STORES:
        for log in sorted((data_dir / store / process).glob("*/_delta_log")):
            yield f"{store}/{log.parent.name}", log.parent


def tables(data_dir: Path, process: str) -> dict[str, dict[str, Any]]:
    """Rows and columns of every table of the Parquet stores; the month, which the folders' names say, is none."""
    found = {}
    for name, folder in delta_tables(data_dir, process):
        table = DeltaTable(folder).to_pyarrow_table()
        found[name] = {"rows": len(table), "columns": [column for column in table.column_names if column != "month"]}
    return found


def risk_scores(data_dir: Path, process: str, table: str = "risk_scores") -> list[dict[str, Any]]:
    """The published scores as they are stored: objects as JSON text, times as ISO 8601."""
    rows = DeltaTable(data_dir / "scores" / process / table).to_pyarrow_table().to_pylist()
    return [
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
        for row in rows
    ]


def records(database: Path) -> dict[str, Any]:
    """What the records hold: rows of each table, the scores, the ends of the chain and of the rows."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        names = [name for (name,) in found]
        count = "SELECT count(*) FROM "
        counts = {name: connection.execute(count + name).fetchone()[0] for name in names}
        scores = [dict(row) for row in connection.execute(f"SELECT {SCORE} FROM scores ORDER BY 1")]  # noqa: S608
        bodies = [text for (text,) in connection.execute("SELECT body FROM scores ORDER BY score_id")]
        head = dict(connection.execute("SELECT audit_seq, audit_hash, rows_seq FROM head").fetchone())
    return {"counts": counts, "scores": scores, "head": head,
            "sha256_of_bodies": [hashlib.sha256(text.encode()).hexdigest() for text in bodies]}  # fmt: skip


def still_said(former: object, now: object, at: str = "") -> list[str]:
    """What a former JSON value said and a present one does not, one line each; the present one may say more."""
    if isinstance(former, dict) and isinstance(now, dict):
        gone = [f"{at}/{name} is gone" for name in former if name not in now]
        return gone + [
            line for name in former if name in now for line in still_said(former[name], now[name], f"{at}/{name}")
        ]
    if isinstance(former, list) and isinstance(now, list) and len(former) == len(now):
        return [line for i, pair in enumerate(zip(former, now, strict=True)) for line in still_said(*pair, f"{at}/{i}")]
    return [] if former == now else [f"{at}: {json.dumps(now)[:200]} instead of {json.dumps(former)[:200]}"]
