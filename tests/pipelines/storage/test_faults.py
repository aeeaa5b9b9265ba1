import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import StorageError
from pipelines.storage import Store

ROOT = Path(__file__).parents[3]
SCHEMA = pa.schema([pa.field("value", pa.float64())])
WRITER = """
import os, signal, sys, resource
import pyarrow as pa
import pipelines.storage.files as files, pipelines.storage.log as log, pipelines.storage.store as stores
schema = pa.schema([pa.field("value", pa.float64())])
store = stores.Store(sys.argv[1])
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
def rows(n=20):
    for i in range(n):
        if i == n // 2 and {moment!r} == "while writing rows":
            die()
        yield pa.record_batch({{"value": [float(i)] * 20_000}}, schema=schema)
{setup}
store.write("t", "2025-01", rows(), schema)
"""
MOMENTS = {
    "while writing rows": "",
    "before the hash": "files.sha256_of = die",
    "before the lasting name": "stores.Store._place = die",
    "between name and commit": "log.commit = die",
    "inside the commit": "import deltalake; deltalake.DeltaTable.create_write_transaction = die",
    "after the commit": "files.sync = lambda path: die() if path.name == '_delta_log' else None",
}


def rows(*values: float) -> pa.Table:
    return pa.table({"value": [float(v) for v in values]}, schema=SCHEMA)


def run_writer(root, moment, setup) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(WRITER).format(moment=moment, setup=setup)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, str(root)], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_writer_leaves_a_readable_version_and_the_next_write_cleans_up(tmp_path, moment) -> None:
    store = Store(tmp_path)
    store.write("t", "2025-01", rows(1), SCHEMA)
    assert run_writer(tmp_path, moment, MOMENTS[moment]).returncode == -signal.SIGKILL
    read = Store(tmp_path).read("t")["value"].to_pylist()
    assert len(read) == 400_000 if moment == "after the commit" else read == [1]
    problems = store.verify()
    assert all(problem.harmless for problem in problems)
    assert bool(problems) == (moment != "after the commit")
    store.write("t", "2025-02", rows(2), SCHEMA)
    assert store.verify() == []


def test_a_full_disk_is_an_error_and_leaves_the_old_version(tmp_path) -> None:
    Store(tmp_path).write("t", "2025-01", rows(1), SCHEMA)
    limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    noise = "rows = lambda: (pa.record_batch({'value': [hash((i, j)) / 7 for j in range(99_999)]}, schema=schema) for i in range(4))"
    done = run_writer(tmp_path, "", f"{limit}\n{noise}")
    assert done.returncode == 1
    assert "StorageError" in done.stderr.splitlines()[-1] and "Free space" in done.stderr.splitlines()[-1]
    assert Store(tmp_path).read("t")["value"].to_pylist() == [1]
    assert Store(tmp_path).verify() == []


def test_a_file_of_a_living_writer_is_not_taken_for_a_leftover(tmp_path) -> None:
    store = Store(tmp_path)
    staged = store.stage("t", "2025-01", rows(1), SCHEMA)
    assert Store(tmp_path).clean("t") == []
    store.commit("t", [staged])
    assert Store(tmp_path).read("t")["value"].to_pylist() == [1]


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.999])
def test_a_flipped_bit_is_caught_by_verify_and_by_reading(tmp_path, place) -> None:
    store = Store(tmp_path)
    store.write("t", "2025-01", rows(*range(1000)), SCHEMA)
    flip(store.files("t")[0], place)
    (problem,) = store.verify()
    assert problem.kind == "changed" and "SHA-256" in problem.line and "Restore" in problem.line
    with pytest.raises(StorageError, match="the file changed after it was written"):
        store.read("t")


def test_a_flipped_bit_in_the_data_is_caught_by_row_group_readers_too(tmp_path) -> None:
    store = Store(tmp_path)
    store.write("t", "2025-01", rows(*range(1000)), SCHEMA)
    flip(store.files("t")[0], 0.4)
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(store.files("t")[0], page_checksum_verification=True).read_row_group(0)


def test_a_bit_that_flips_after_the_first_reading_is_caught(tmp_path) -> None:
    store = Store(tmp_path)
    store.write("t", "2025-01", rows(*range(1000)), SCHEMA)
    assert store.read("t").num_rows == 1000
    flip(store.files("t")[0], 0.4)
    with pytest.raises(StorageError):
        store.read("t")


def test_a_missing_file_is_a_problem(tmp_path) -> None:
    store = Store(tmp_path)
    store.write("t", "2025-01", rows(1), SCHEMA)
    store.files("t")[0].unlink()
    (problem,) = store.verify()
    assert problem.kind == "missing" and "Restore" in problem.line
    with pytest.raises(StorageError, match="the file is missing"):
        store.read("t")


def test_a_torn_last_commit_is_a_problem_with_the_version_before(tmp_path) -> None:
    store = Store(tmp_path)
    store.write("t", "2025-01", rows(1), SCHEMA)
    store.write("t", "2025-01", rows(2), SCHEMA)
    last = max((tmp_path / "t" / "_delta_log").glob("*.json"))
    last.write_bytes(last.read_bytes()[:-40])
    (problem,) = store.verify()
    assert problem.kind == "torn_commit" and "commit 2 is torn" in problem.line and "version 1" in problem.line
    with pytest.raises(StorageError, match="commit 2 is torn"):
        store.read("t")
    last.rename(tmp_path / "torn")
    assert store.read("t")["value"].to_pylist() == [1]


def flip(path, place) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)
