"""A data directory of 0.1.0 is read by the present code: `v0_1_0/`, made by `make_v0_1_0.py` with the code of then.

What only the code of then could do again (a score to the bit, a bundle whose features it made) either works or ends in
one line that says what to do.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.upgrade.current import add_key, endpoint, published, release, run, stored
from tests.upgrade.facts import records, risk_scores, still_said

FORMER = Path(__file__).parent / "v0_1_0"
EXPECTED = json.loads((FORMER / "expected.json").read_text())
SCORES, PROCESS = EXPECTED["scores"], EXPECTED["process"]
WHAT_TO_DO = re.compile(
    r"release the version again|release a version|use the version of batchguard that scored", re.IGNORECASE
)
LATER = "2025-04-12T20:00:00Z"
READING = {"parameter": "temperature_c", "observed_at": "2025-05-01T12:00:00Z", "value": 37.0, "unit": "degC"}


def copied(folder: Path) -> Path:
    """A copy of `small.toml`, `history` and the data directory `var`."""
    with tarfile.open(FORMER / "plant.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    return copied(tmp_path)


@dataclass(frozen=True)
class Read:
    """An endpoint over a copy that is only read, started once for all that do."""

    client: TestClient
    database: Path


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    data_dir = copied(tmp_path_factory.mktemp("read")) / "var"
    assert records(data_dir / "records.db") == EXPECTED["records"]
    with endpoint(data_dir, EXPECTED["api_key"], PROCESS) as client:
        yield Read(client, data_dir / "records.db")


def options(plant: Path) -> tuple[str | Path, ...]:
    return "--process", plant / f"{PROCESS}.toml", "--data-dir", plant / "var"


def is_one_line_that_says_what_to_do(text: str) -> bool:
    return len(text.strip().splitlines()) == 1 and WHAT_TO_DO.search(text) is not None


def z(at: str) -> str:
    return at.replace("+00:00", ".000000Z")


def as_a_record(row: dict[str, Any]) -> dict[str, Any]:
    """A stored row of 0.1.0 in the form of the present record."""
    plain = {
        name: json.loads(row[name])
        for name in ("reasons", "attributes", "changes", "what_if", "sensors", "missing", "stale")
    }
    numbers = {name: row[name] for name in ("elapsed_h", "failure_probability", "base_probability", "decision")}
    model = {name: row[f"model_{name}"] for name in ("name", "version", "sha256")}
    return (
        plain
        | numbers
        | {
            "cause": row["cause"] or None,
            "interval": [row["probability_low"], row["probability_high"]],
            "modes": json.loads(row["modes"])["probabilities"],
            "likeliest_mode": {"sentence": json.loads(row["modes"])["sentence"]},
            "domain": json.loads(row["domain"])["findings"],
            "data_sha256": row["data_version"],
            "process_version": row["process_version"],
            "model": model | {"review": row["review"], "process_id": row["process_id"]},
        }
    )


def test_every_stored_file_is_as_it_was_written_and_every_table_is_read(plant) -> None:
    told = run("verify", *options(plant))
    assert told.exit_code == 0
    assert re.fullmatch(r"batchguard: \S+: no release names it; .*of version 0\.2\.0\. Nothing to do\.\n", told.stderr)
    assert stored(plant / f"{PROCESS}.toml", plant / "var") == EXPECTED["tables"]


@pytest.mark.slow
def test_later_scores_join_the_former_ones_which_stay_as_they_were(plant) -> None:
    told = run("score", *options(plant), "--history", plant / "history", "--as-of", LATER)
    if told.exit_code:
        assert is_one_line_that_says_what_to_do(told.stderr)
    now = {(row["batch_id"], row["as_of"]): row for row in published(plant / f"{PROCESS}.toml", plant / "var")}
    former = {(row["batch_id"], row["as_of"]): as_a_record(row) for row in EXPECTED["risk_scores"]}
    assert [line for (batch_id, at), row in former.items() for line in still_said(row, now[batch_id, z(at)])] == []
    assert told.exit_code or len(now) == len(former) + len({batch_id for batch_id, _ in former})
    set_aside = "risk_scores" if told.exit_code else "risk_scores_0_1_0"
    assert risk_scores(plant / "var", PROCESS, set_aside) == EXPECTED["risk_scores"]
    assert run("verify", *options(plant)).exit_code == 0


def test_the_records_answer_what_they_answered(read) -> None:
    for path, former in EXPECTED["reads"].items():
        answer = read.client.get(path)
        if path == "/v1/model" and answer.status_code == 503:  # its bundle cannot speak any more
            assert is_one_line_that_says_what_to_do(answer.json()["detail"]), answer.text
            continue
        assert (answer.status_code, still_said(former, answer.json(), path)) == (200, [])
    for score_id, former in EXPECTED["copies"].items():
        assert set(former.splitlines()) <= set(read.client.get(f"/v1/scores/{score_id}/copy").text.splitlines())


def test_a_request_that_was_answered_gets_the_same_answer_again(read) -> None:
    asked = EXPECTED["repeated"]
    headers = {"content-type": "application/json", "idempotency-key": asked["key"]}
    again = read.client.request(asked["method"], asked["path"], content=json.dumps(asked["body"]), headers=headers)
    assert (again.status_code, again.headers.get("idempotent-replayed"), again.text) == (200, "true", asked["answer"])


def test_reading_changes_nothing_but_the_shape_of_the_database_and_ties_the_trail_to_its_anchor(read) -> None:
    assert read.client.get(f"/v1/scores/{SCORES['inline']}").status_code == 200
    former, now = EXPECTED["records"], records(read.database)
    counts = former["counts"] | {"audit": former["counts"]["audit"] + 1}  # 0.1.0 did not state where its anchor is
    assert {name: now["counts"].get(name) for name in counts} == counts
    assert now["scores"] == former["scores"]
    assert now["head"]["audit_seq"] == former["head"]["audit_seq"] + 1
    assert now["head"]["rows_seq"] == former["head"]["rows_seq"]
    assert [score["body_sha256"] for score in now["scores"]] == now["sha256_of_bodies"] == former["sha256_of_bodies"]


def test_what_is_worked_out_from_a_score_is_the_same_or_needs_the_code_of_then(read) -> None:
    for path, former in EXPECTED["worked_out"].items():
        answer = read.client.get(path)
        if answer.status_code in (409, 503):  # it spoke with other code; no model speaks now
            assert is_one_line_that_says_what_to_do(answer.json()["detail"]), answer.text
        else:
            assert (answer.status_code, still_said(former, answer.json())) == (200, [])


def test_the_keys_are_those_that_were_made(plant, read) -> None:
    assert run("keys", "list", "--data-dir", plant / "var").output.splitlines() == EXPECTED["keys"]
    other = {"authorization": f"Bearer {EXPECTED['api_key'][:-1]}x"}
    assert read.client.get("/v1/batches", headers=other).status_code == 401


def test_the_trail_is_whole_is_exported_as_it_was_and_goes_on(plant) -> None:
    data = ("--data-dir", plant / "var")
    entries, n = (FORMER / "audit.jsonl").read_text().splitlines(), EXPECTED["records"]["head"]["audit_seq"]
    verified = run("audit", "verify", *data)
    assert (verified.exit_code, verified.stderr) == (0, "")
    assert verified.output.startswith(f"{n} entries, ")
    exported = run("audit", "export", *data).output.splitlines()
    assert [json.loads(line) for line in exported] == [json.loads(line) for line in entries]
    add_key(plant / "var")
    assert run("audit", "verify", *data).output.startswith(f"{n + 1} entries, ")
    changed = json.loads(run("audit", "export", *data).output.splitlines()[n])
    assert (changed["seq"], changed["previous"]) == (n + 1, EXPECTED["records"]["head"]["audit_hash"])


def test_the_anchor_of_then_shows_a_chain_that_was_cut(plant) -> None:
    anchor = plant / "var" / "audit.anchor"
    seq, _, rest = anchor.read_text().splitlines()[-1].split(maxsplit=2)
    assert int(seq) == EXPECTED["records"]["head"]["audit_seq"]
    anchor.write_text(f"{seq} {'0' * 64} {rest}\n")
    told = run("audit", "verify", "--data-dir", plant / "var")
    assert (told.exit_code, len(told.stderr.splitlines())) == (1, 1)


def lost(anchor: Path) -> None:
    anchor.unlink()


def ahead(anchor: Path) -> None:
    """As after the restoring of an older copy of the records: the anchor knows an entry more, in the form of then."""
    seq, *_ = anchor.read_text().splitlines()[-1].split()
    anchor.write_text(f"{anchor.read_text()}{int(seq) + 1} {'1' * 64} 2025-05-02T00:00:00.000000Z\n")


@pytest.mark.parametrize(
    ("broken", "said"), [(lost, "nothing outside the records vouches for"), (ahead, "is gone: the chain was cut")]
)
def test_records_of_then_are_accepted_without_their_anchor_and_the_endpoint_starts(plant, broken, said) -> None:
    data, anchor = ("--data-dir", plant / "var"), plant / "var" / "audit.anchor"
    lines = anchor.read_text()
    broken(anchor)
    refused = run("audit", "verify", *data)
    assert refused.exit_code == 1
    assert said in refused.stderr
    accepted = run("audit", "accept", "--why", "restored on purpose", *data)
    assert (accepted.exit_code, accepted.stderr) == (0, "")
    n = EXPECTED["records"]["head"]["audit_seq"] + 1
    told = run("audit", "verify", *data).output.splitlines()
    assert told[0].endswith("began the anchor anew: restored on purpose")
    assert (told[1].split(",")[0], told[1].split(", ")[-1]) == (f"{n} entries", "0 problems")
    entry = json.loads(run("audit", "export", *data).output.splitlines()[-1])
    assert (entry["seq"], entry["why"], entry["previous"]) == (
        n, "restored on purpose", EXPECTED["records"]["head"]["audit_hash"]
    )  # fmt: skip
    kept = [path for path in anchor.parent.glob("audit.anchor*") if path.read_text().startswith(lines)]
    assert len(kept) == (broken is ahead)  # what was there stays under another name
    with endpoint(plant / "var", EXPECTED["api_key"], PROCESS) as client:
        assert client.get(f"/v1/scores/{SCORES['inline']}").status_code == 200
    assert run("audit", "verify", *data).exit_code == 0


@pytest.mark.parametrize("kind", SCORES)
def test_a_score_of_then_is_made_again_or_one_line_says_by_what(plant, kind) -> None:
    told = run("score", "--replay", SCORES[kind], *options(plant))
    if told.exit_code == 0:
        assert "the same to the bit" in told.output
    else:
        assert (told.exit_code, is_one_line_that_says_what_to_do(told.stderr)) == (1, True), told.stderr


@pytest.mark.slow
def test_the_bundle_of_then_speaks_or_says_that_it_has_to_be_released_again_and_then_speaks(plant) -> None:
    scores, as_of = "/v1/batches/E1/scores", EXPECTED["repeated"]["body"]["as_of"]
    with endpoint(plant / "var", EXPECTED["api_key"], PROCESS) as client:
        first = client.post(scores, json={"as_of": as_of})
        is_told = first.status_code == 503 and is_one_line_that_says_what_to_do(first.json()["detail"])
        assert first.status_code == 200 or is_told, first.text
    release(plant / f"{PROCESS}.toml", plant / "var", "1")
    with endpoint(plant / "var", EXPECTED["api_key"], PROCESS) as client:
        again = client.post(scores, json={"as_of": as_of})
        expected = SCORES["superseding"] if is_told else first.json()["score_id"]
        assert (again.status_code, again.json().get("supersedes")) == (200, expected), again.text
        more = client.post("/v1/batches/E1/observations", json={"observations": [READING]})
        assert (more.status_code, more.json().get("accepted")) == (200, 1), more.text
        later = client.post(scores, json={"as_of": "2025-05-01T13:00:00Z"})
        assert (later.status_code, later.json().get("rows_seq")) == (200, EXPECTED["records"]["head"]["rows_seq"] + 1)
    assert run("audit", "verify", "--data-dir", plant / "var").exit_code == 0
    assert run("score", "--replay", later.json()["score_id"], *options(plant)).exit_code == 0
