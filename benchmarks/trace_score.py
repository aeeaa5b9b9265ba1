"""`python -m benchmarks.trace_score`: how many of our files a score over HTTP enters, how often it changes package.

Runs on any state of the code: it knows the environment of `serving.main.make`, a made-up plant and the command line.
`--root DIR` counts the code of another checkout, also of an earlier one, with the environment that this one has.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from benchmarks.tracing import COUNTED, Trace, Tracer

N_WARM, N = 5, 15
KINDS = {  # of a request: its media type, whether it has a body, whether it is the first after new readings
    "plain, as of a time": ("application/json", True, False),
    "without a body": ("application/json", False, False),
    "the first after new readings": ("application/json", True, True),
    "with charset=utf-8": ("application/json; charset=utf-8", True, False),  # takes the ordinary way
}


def traces_of(make: Callable[[], Any], key: str, tracer: Tracer) -> dict[str, Trace]:
    """A trace of each kind of request; what the application does beside requests is not started."""
    from benchmarks.serving.place import ASKED_H, HOUR_US, HOURS, batch, observations

    client = TestClient(make(), headers={"authorization": f"Bearer {key}", "content-type": "application/json"})
    started_us, url, later = time.time_ns() // 1_000 - HOURS * HOUR_US, "/v1/batches/B1", itertools.count()

    def rows(first_min: int, n: int) -> None:
        sent = observations(started_us, first_min, n, np.random.default_rng(first_min))
        assert client.post(f"{url}/observations", json={"observations": sent}).status_code == 200

    def score(kind: str, has_body: bool) -> None:
        at = dt.datetime.fromtimestamp((started_us + ASKED_H * HOUR_US + next(later)) / 1e6, dt.UTC)
        body = json.dumps({"as_of": at.isoformat(), "reasons": True}) if has_body else ""
        told = client.post(f"{url}/scores", content=body, headers={"content-type": kind})
        assert told.status_code == 200, told.text
        assert told.json()["reasons"] is not None

    assert client.put(url, json=batch(started_us)).status_code == 201
    rows(0, 120)
    found: dict[str, list[Trace]] = {name: [] for name in KINDS}
    for name, (kind, has_body, is_first) in KINDS.items():
        for turn in range(N_WARM + N):
            if is_first:
                rows(200 + turn, 1)
            with tracer.recording() as trace:
                score(kind, has_body)
            found[name].append(trace)
    return {name: usual(traces[N_WARM:]) for name, traces in found.items()}


def usual(traces: Sequence[Trace]) -> Trace:
    """The first of those that are most often alike: once a second a key is read again, and the anchor is written."""
    alike = Counter(trace.alike for trace in traces)
    [(most, n)] = alike.most_common(1)
    return replace(next(trace for trace in traces if trace.alike == most), share=n / len(traces))


def measure(root: Path) -> dict[str, Trace]:
    """Traces over a made-up plant."""
    from benchmarks.serving.place import make_place
    from serving.commands import RecordsAdmin

    tracer = Tracer(root)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):  # the log of requests
        place = make_place(Path(folder))
        key = _key(root, place.data_dir)
        with RecordsAdmin(place.data_dir) as admin:
            place.release_first(admin.records)
        os.environ |= {"BATCHGUARD_MODELS": str(place.bundles), "BATCHGUARD_DATA_DIR": str(place.data_dir),
                       "BATCHGUARD_PROCESS_ID": "bench"}  # fmt: skip
        from serving.main import make

        with tracer.installed():
            return traces_of(make, key, tracer)


def _key(root: Path, data_dir: Path) -> str:
    """A key of an MES, made by the command line."""
    options = ["--role", "mes", "--site", "*", "--data-dir", str(data_dir)]
    told = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "keys", "add", "MES", *options], cwd=root, check=True, text=True,
        env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    return next(word for word in told.stdout.split() if word.startswith("bg_"))


def report(root: Path, traces: dict[str, Trace]) -> dict[str, Any]:
    """Everything that was found, for a file."""
    found = {
        name: {"counts": trace.counts(), "share": trace.share, "by_fastapi": trace.in_fastapi, "files": sorted(trace.files),
               "changes": {f"{a} -> {b}": n for (a, b), n in trace.changes.most_common()}}
        for name, trace in traces.items()
    }  # fmt: skip
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    return {"date": dt.datetime.now(dt.UTC).date().isoformat(), "commit": commit, "counted": COUNTED, "requests": found}


def show(found: dict[str, Any]) -> None:
    """Print the figures of every kind of request, and the files and changes of the first, which is the headline."""
    print(f"POST /v1/batches/B1/scores with reasons, commit {found['commit']}. {COUNTED}")
    for name, one in found["requests"].items():
        way = "through FastAPI's routes" if one["by_fastapi"] else "not through FastAPI's routes"
        counts = ", ".join(f"{n} {what}" for what, n in one["counts"].items())
        print(f"{name}: {counts}; {way}; {one['share']:.0%} of {N} requests")
    headline = next(iter(found["requests"].values()))
    print("files of the first:", *headline["files"], sep="\n  ")
    print("its changes of directory:", *(f"{n:4d}  {pair}" for pair, n in headline["changes"].items()), sep="\n  ")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.trace_score", description=__doc__)
    here = Path(__file__).parents[1]
    parser.add_argument("--root", type=Path, default=here, help="checkout to count; default: this one")
    parser.add_argument("--json", type=Path, help="write everything there, too")
    given = parser.parse_args()
    root = given.root.resolve()
    sys.modules.pop("benchmarks", None)  # this checkout's; `place` comes from the other one
    sys.path.insert(0, str(root))
    found = report(root, measure(root))
    show(found)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
