"""How a benchmark keeps its figures: one JSON file a run, with machine, date and commit."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    low: float | None = None,
    high: float | None = None,
    n: int | None = None,
    n_failed: int | None = None,
    bound: float | None = None,
    side: str = "min",
    against: str = "",
    note: str = "",
) -> dict[str, object]:
    """One figure; `holds` says whether it keeps its bound, None where there is none."""
    holds = None if bound is None else bool(value >= bound if side == "min" else value <= bound)
    return {
        "name": name, "value": value, "low": low, "high": high, "n": n, "n_failed": n_failed, "unit": unit,
        "bound": bound, "side": side, "holds": holds, "against": against, "note": note,
    }  # fmt: skip


def write(name: str, figures: list[dict[str, object]]) -> Path:
    """Write `results/<name>.json`."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    content = {
        "machine": machine(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": commit,
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def machine() -> str:
    """Processor, cores and memory."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
