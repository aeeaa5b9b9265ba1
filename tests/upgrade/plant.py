"""A plant as small as one can be that a model is made of: made up, it says nothing about any model."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

N_BATCHES, EVERY_H, HOURS, DECIDED_AFTER_H = 130, 24, 24, 48
BEGIN = datetime(2024, 12, 4, 6, tzinfo=UTC)
PROCESS = """\
[process]
id = "small"
name = "Small plant"
version = "1"
planned_duration_h = 24
bin_h = 1
checkpoints_h = [0, 6, 12, 24]
windows_h = [6]

[[parameter]]
name = "temperature_c"
label = "Temperature"
unit = "degC"
kind = "sensor"
range = [0, 60]
normal = [36, 38]
controllable = true

[[parameter]]
name = "purity_pct"
label = "Purity"
unit = "%"
kind = "assay"
range = [0, 100]

[[parameter]]
name = "yield_pct"
label = "Yield"
unit = "%"
kind = "assay"
range = [0, 100]

[[quality_attribute]]
name = "yield"
parameter = "yield_pct"
lower = 80
transform = "none"

[decision]
cases_per_mode = 5

[[parameter]]
name = "age_years"
label = "Age"
unit = "year"
kind = "attribute"
range = [0, 120]
"""
SCORED_AGAIN_AT = "2025-04-12T16:00:00Z"  # three hours after the run's own moment
ASKED_AT = "2025-05-01T12:30:00Z"
_BATCH = {"started_at": "2025-05-01T00:00:00Z", "origin": "simulated", "attributes": {"age_years": 60}}
ENDPOINT_BATCHES = {"E1": _BATCH | {"site_id": "north"}, "E2": _BATCH | {"site_id": "south"}}
_LOT = {"lot_id": "L9", "material": "medium", "parameter": "purity_pct", "observed_at": "2025-04-20T00:00:00Z"}
_AIR = {"site_id": "north", "metric": "viable_air_cfu_m3", "observed_at": "2025-04-30T00:00:00Z"}
LOT_RESULTS, ENVIRONMENT = {"lot_results": [_LOT | {"value": 97.5}]}, {"environment": [_AIR | {"value": 3}]}
REVIEW = {"decision": "act", "reason": "second sample ordered", "deviation": "DEV-1", "meaning": "review"}
Row = dict[str, Any]


def write(process: Path, history: Path) -> None:
    """The process definition, and a history folder up to eight hours after the last batch's start."""
    process.write_text(PROCESS, encoding="utf-8")
    history.mkdir()
    for name, rows in tables(random.Random(7)).items():
        with (history / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def tables(rng: random.Random) -> dict[str, list[Row]]:
    """A warm batch usually fails; the last two are in progress."""
    found: dict[str, list[Row]] = {"batches": [], "observations": [], "dispositions": [], "materials": []}
    now = BEGIN + timedelta(hours=EVERY_H * (N_BATCHES - 1) + 8)
    for i in range(N_BATCHES):
        start, batch_id = BEGIN + timedelta(hours=EVERY_H * i), f"B{i:03d}"
        warm = rng.random() < 0.35 or i == N_BATCHES - 1
        fails, ends = warm != (rng.random() < 0.1), start + timedelta(hours=DECIDED_AFTER_H)
        found["batches"].append({"batch_id": batch_id, "started_at": start.isoformat(), "origin": "simulated",
                                 "age_years": rng.randrange(20, 80), "subject_key": f"S{i:03d}"})  # fmt: skip
        found["materials"].append({"batch_id": batch_id, "material": "medium", "lot_id": f"L{i // 10}"})
        known = [row for row in readings(start, warm, fails, rng) if row["available_at"] <= now.isoformat()]
        found["observations"] += [{"batch_id": batch_id, **row} for row in known]
        if ends <= now:
            outcome, modes = ("rejected", "M1") if fails else ("released", "")
            said = {"outcome": outcome, "failure_modes": modes, "decided_at": ends.isoformat()}
            found["dispositions"].append({"batch_id": batch_id, **said})
    return found


def readings(start: datetime, warm: bool, fails: bool, rng: random.Random) -> Iterator[Row]:
    """Of one batch, a temperature every two hours, two results on the way and its yield."""
    for hour in range(1, HOURS, 2):
        at = (start + timedelta(hours=hour)).isoformat()
        yield {"parameter": "temperature_c", "observed_at": at, "available_at": at, "unit": "degC",
               "value": round(37 + rng.gauss(0, 0.2) + (1.5 if warm and hour > 3 else 0), 2)}  # fmt: skip
    results = {
        5: ("purity_pct", 90, 99),
        17: ("purity_pct", 90, 99),
        40: ("yield_pct", *((60, 79) if fails else (82, 97))),
    }
    for hour, (name, low, high) in results.items():
        at = start + timedelta(hours=hour)
        yield {"parameter": name, "observed_at": at.isoformat(), "unit": "%", "value": round(rng.uniform(low, high), 1),
               "available_at": (at + timedelta(minutes=45)).isoformat()}  # fmt: skip


def endpoint_rows() -> Row:
    """Rows of every table of a batch, one of them impossible."""
    hours = [f"2025-05-01T{hour:02d}:00:00Z" for hour in range(1, 13, 2)]
    return {
        "observations": [
            {"parameter": "temperature_c", "observed_at": at, "value": value, "unit": "degC"}
            for at, value in (*((at, 38.4) for at in hours), ("2025-05-01T12:00:00Z", 600.0))
        ],
        "events": [{"kind": "phase", "code": "culture", "started_at": "2025-05-01T00:30:00Z"}],
        "materials": [{"material": "medium", "lot_id": "L9", "consumed_at": "2025-05-01T00:10:00Z"}],
        "dispositions": [{"outcome": "rejected", "decided_at": "2025-05-03T00:00:00Z"}],
    }


CORRECTION = {"observations": [{"parameter": "temperature_c", "observed_at": "2025-05-01T11:00:00Z", "revision": 1,
                                "value": 37.1, "available_at": "2025-05-01T12:00:00Z", "unit": "degC"}]}  # fmt: skip


def inline() -> Row:
    """A history that comes along with the request for a score."""
    batch = ENDPOINT_BATCHES["E1"] | {"batch_id": "I1"}
    rows = endpoint_rows()
    return {"batch": batch, "observations": rows["observations"][:4], "materials": rows["materials"], "as_of": ASKED_AT}
