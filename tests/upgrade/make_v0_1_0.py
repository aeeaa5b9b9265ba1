"""Makes `v0_1_0/`: a small data directory of batchguard 0.1.0, and what has to be read from it ever after.

Run it in a checkout of commit 6c4ab94 (0.1.0), with its environment; it refuses any other code:

    .venv/bin/python HERE/tests/upgrade/make_v0_1_0.py HERE/tests/upgrade/v0_1_0

Everything is made in /tmp/plant, which must not exist before, by the command line of 0.1.0 and over HTTP: MLflow and
Delta keep absolute paths, and these say nothing of any machine. What 0.1.0 makes anew or never reads again is left out:
the run history of Dagster, the page of the report, its plots. The keys were made for it and open nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import facts  # of this folder: python puts a script's own folder first
import plant

COMMIT, PLACE = "6c4ab94", Path("/tmp/plant")  # noqa: S108 - neutral, and named in what is made
VAR, PROCESS, HISTORY = PLACE / "var", PLACE / "small.toml", PLACE / "history"
OPTIONS = ["--process", str(PROCESS), "--data-dir", str(VAR)]
KEEP = "keep_answers_days = 36500  # longer than any test is kept\n"
HOOK = f'[[webhook]]\nname = "nobody"\nurl = "http://127.0.0.1:9"\nsecret_file = "{PLACE}/hook.secret"\n'
STARTER = "import sys; from pipelines.cli import app; sys.argv[0] = 'batchguard'; app()\n"
LEFT_OUT = ("dagster", "reports", "plots")
Json = dict[str, Any]


def batchguard(*arguments: str) -> str:
    """What a command of 0.1.0 printed."""
    done = subprocess.run([sys.executable, "bin/batchguard", *arguments], cwd=PLACE, env=environment(), text=True,
                          check=True, stdout=subprocess.PIPE)  # fmt: skip
    return done.stdout


def environment() -> dict[str, str]:
    """Of commands: the code of the checkout that this was started in, and nobody's name."""
    return os.environ | {"PYTHONPATH": str(Path.cwd()), "LOGNAME": "operator", "USER": "operator"}


def add_key(name: str, *options: str) -> str:
    return batchguard("keys", "add", name, "--data-dir", str(VAR), *options).split()[-1]


class Client:
    """Asks the endpoint, and keeps what it answered.

    Args:
        url: Where it listens.
        key: Of the MES.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url, self._key = url, key

    def text(self, method: str, path: str, body: Json | None = None, **headers: str) -> str:
        content = None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        known = {"authorization": f"Bearer {self._key}", "content-type": "application/json"} | named
        request = urllib.request.Request(self.url + path, content, known, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
            return answer.read().decode()

    def __call__(self, method: str, path: str, body: Json | None = None, **headers: str) -> Json:
        return json.loads(self.text(method, path, body, **headers))


@contextmanager
def served() -> Generator[str]:
    """The endpoint of 0.1.0 on loopback, told to deliver events to somebody who is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (PLACE / "hook.secret").write_text("0123456789abcdef" * 2)
    (PLACE / "make.toml").write_text(KEEP + HOOK)
    options = [*OPTIONS, "--config", str(PLACE / "make.toml"), "--port", str(port)]
    command = [sys.executable, "bin/batchguard", "serve", *options]
    with (PLACE / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=PLACE, env=environment(), stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def fill(url: str) -> Json:
    """Batches, rows of every table, scores of every kind, a review; what was asked and answered."""
    mes = Client(url, key := add_key("MES", "--role", "mes", "--site", "*"))
    anna = add_key("Anna", "--role", "reviewer", "--site", "north", "--person")
    lost = add_key("Lost", "--role", "viewer", "--site", "*").split("_")[1]
    batchguard("keys", "revoke", lost, "--why", "lost", "--data-dir", str(VAR))
    for batch_id, batch in plant.ENDPOINT_BATCHES.items():
        mes("PUT", f"/v1/batches/{batch_id}", batch)
        mes("POST", f"/v1/batches/{batch_id}/observations", plant.endpoint_rows())
    mes("PUT", "/v1/batches/E1?reason=typed%20wrong", plant.ENDPOINT_BATCHES["E1"] | {"attributes": {"age_years": 61}})
    mes("POST", "/v1/lot-results", plant.LOT_RESULTS)
    mes("POST", "/v1/environment", plant.ENVIRONMENT)
    asked = {"method": "POST", "path": "/v1/batches/E1/scores", "body": {"as_of": plant.ASKED_AT}, "key": "msg-1"}
    answered = mes.text(asked["method"], asked["path"], asked["body"], idempotency_key=asked["key"])
    scores = {"with reasons": json.loads(answered)["score_id"]}
    ways = {"without reasons": ("/v1/batches/E2/scores", {"as_of": plant.ASKED_AT, "reasons": False}),
            "inline": ("/v1/scores", plant.inline())}  # fmt: skip
    scores |= {name: mes("POST", path, body)["score_id"] for name, (path, body) in ways.items()}
    mes("POST", "/v1/batches/E1/observations", plant.CORRECTION)
    scores["superseding"] = mes("POST", asked["path"], asked["body"])["score_id"]
    review = plant.REVIEW | {"signer": f"key:{anna.split('_')[1]}"}
    Client(url, anna)("POST", f"/v1/scores/{scores['superseding']}/reviews", review, signature_credential=anna)
    reads = ["/v1/model", "/v1/batches", "/v1/batches/E1/scores", "/v1/batches/E2/scores"]
    reads += [f"/v1/scores/{score}{part}" for score in scores.values() for part in ("", "/history")]
    worked_out = [f"/v1/scores/{scores['superseding']}/{part}" for part in ("changes", "what-if")]
    return {"api_key": key, "scores": scores, "repeated": asked | {"answer": answered},
            "reads": {path: mes("GET", path) for path in reads},
            "worked_out": {path: mes("GET", path) for path in worked_out},
            "copies": {score: mes.text("GET", f"/v1/scores/{score}/copy") for score in scores.values()},
            "openapi": mes.text("GET", "/openapi.json")}  # fmt: skip


def make(out: Path) -> None:
    """Everything, into a folder."""
    (PLACE / "bin").mkdir(parents=True)
    (PLACE / "bin" / "batchguard").write_text(STARTER)
    plant.write(PROCESS, HISTORY)
    batchguard("run", *OPTIONS, "--history", str(HISTORY), "--trials", "2")
    batchguard("score", *OPTIONS, "--history", str(HISTORY), "--as-of", plant.SCORED_AGAIN_AT)
    batchguard("bundle", "1", *OPTIONS)
    (VAR / "endpoint.toml").write_text(KEEP)
    with served() as url:
        said = fill(url)
    checked = [batchguard("audit", "verify", "--data-dir", str(VAR)), batchguard("verify", *OPTIONS)]
    checked += [batchguard("score", *OPTIONS, "--replay", score) for score in said["scores"].values()]
    sys.stdout.writelines(checked)
    trail = batchguard("audit", "export", "--data-dir", str(VAR))
    keys = batchguard("keys", "list", "--data-dir", str(VAR)).splitlines()
    shrink()
    (out / "openapi.json").write_text(said.pop("openapi"), encoding="utf-8")
    (out / "audit.jsonl").write_text(trail, encoding="utf-8")
    expected = {"commit": COMMIT, "made_in": str(PLACE), "process": "small", **said, "keys": keys,
                "records": facts.records(VAR / "records.db"), "tables": facts.tables(VAR, "small"),
                "risk_scores": facts.risk_scores(VAR, "small")}  # fmt: skip
    (out / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with tarfile.open(out / "plant.tar.xz", "w:xz", preset=9) as archive:
        for name in ("small.toml", "history", "var"):
            archive.add(PLACE / name, name, filter=nobodys)


def shrink() -> None:
    """Leave out what is made anew, and the free pages of databases."""
    for name in LEFT_OUT:
        for folder in [path for path in VAR.rglob(name) if path.is_dir()]:
            shutil.rmtree(folder)
    for path in (VAR / "mlflow.db", VAR / "records.db"):
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("VACUUM")


def nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member of the archive without owner and time."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    out = parser.parse_args().out.absolute()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    if not commit.startswith(COMMIT):
        sys.exit(f"this is not the code of 0.1.0: {commit[:7]}; start it in a checkout of {COMMIT}")
    out.mkdir(parents=True, exist_ok=True)
    make(out)


if __name__ == "__main__":
    main()
