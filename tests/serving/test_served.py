"""The whole endpoint over real sockets: what an MES gets, and what slow, idle and killed clients and servers do to it."""

import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from sqlalchemy import func, select

from benchmarks.serving.process import ROOT, Served, free_port
from serving.api.responses import Score
from serving.audit import verification
from serving.commands import RecordsAdmin
from serving.records.tables import rows, scores
from tests.serving.served import served
from tests.serving.services import BATCH, reading

pytestmark = pytest.mark.slow


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mes_client", ROOT / "examples" / "mes_client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mes_client"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def endpoint(small_plant, tmp_path_factory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), small_plant, config="body_timeout_s = 1.0\n") as found:
        yield found


@pytest.fixture
def client(endpoint) -> object:
    return example().Client(endpoint.url, endpoint.key)


def test_an_mes_gets_a_score_with_reasons_and_the_command_line_makes_it_again(endpoint, client) -> None:
    client.put_batch("B1", BATCH | {"attributes": {"line": "a"}})
    assert client.add("B1", observations=[reading(h, 7.5) for h in range(1, 7)])["accepted"] == 6
    low, high = client.score("B1", "2026-03-01T00:30:00Z"), client.score("B1", "2026-03-01T06:30:00Z")
    assert high["failure_probability"] > low["failure_probability"]
    assert high["reasons"][0]["sentence"].startswith("Compression force")
    assert (high["model"]["review"], high["model"]["released_by"]) == ("released", "two persons")
    assert Score.model_validate_json(json.dumps(high), strict=True).call in ("none yet", "low", "elevated", "high")
    with RecordsAdmin(endpoint.data_dir) as admin:
        assert admin.replay(high["score_id"], endpoint.models, "soup")[0]
        assert admin.verify().problems == ()


def test_an_mes_tells_of_lots_and_rooms_and_asks_what_changed_and_what_could_be_done(endpoint, client) -> None:
    client.put_batch("B5", BATCH)
    client.add("B5", observations=[reading(1, 4.0)], materials=[{"material": "broth", "lot_id": "L9"}])
    lot = {
        "lot_id": "L9",
        "material": "broth",
        "parameter": "purity_pct",
        "observed_at": "2026-02-01T00:00:00Z",
        "value": 97.0,
    }
    air = {"site_id": "north", "metric": "viable_air_cfu_m3", "observed_at": "2026-02-28T00:00:00Z", "value": 3}
    assert client.add_lot_results([lot, lot | {"lot_id": "L0"}])["accepted"] == 1  # the key is one of the north's
    assert client.add_environment([air, air | {"site_id": "south"}])["accepted"] == 1
    first = client.score("B5", "2026-03-01T01:30:00Z")
    client.add("B5", observations=[reading(2, 7.5)])
    second = client.score("B5", "2026-03-01T02:30:00Z")
    changed = client.changes(second["score_id"])
    assert (changed["since"]["score_id"], changed["changes"]["probability"]) == (
        first["score_id"], second["failure_probability"],
    )  # fmt: skip
    assert client.what_if(second["score_id"])["what_if"]["left_out"] == []
    with RecordsAdmin(endpoint.data_dir) as admin:
        assert admin.replay(second["score_id"], endpoint.models, "soup")[0]
        assert admin.verify().problems == ()


def test_a_load_balancer_may_ask_for_the_head_alone(endpoint) -> None:
    request = urllib.request.Request(f"{endpoint.url}/health/ready", method="HEAD")  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own
        assert (answer.status, answer.read(), answer.headers["content-type"]) == (200, b"", "application/json")


def test_a_refusal_is_shown_as_no_score(endpoint, capsys, monkeypatch) -> None:
    monkeypatch.setenv("BATCHGUARD_KEY", endpoint.key)
    assert example().main(endpoint.url, "B7", "south", "force_kn", "5", "kN") == 2
    assert capsys.readouterr().out.startswith("NO SCORE for B7: 403")


def start_of(client, batch_id: str) -> list[tuple[str, int]]:
    """Start and revision of a batch, as the endpoint has them."""
    found = client._send("GET", f"/v1/batches?after={urllib.parse.quote(batch_id[:-1])}")["batches"]
    return [(batch["started_at"], batch["revision"]) for batch in found if batch["batch_id"] == batch_id]


def test_the_example_shows_call_risk_interval_support_and_causes(endpoint, capsys, monkeypatch) -> None:
    monkeypatch.setenv("BATCHGUARD_KEY", endpoint.key)
    assert example().main(endpoint.url, "E1", "north", "force_kn", "5", "kN") == 0
    accepted, score, *more = capsys.readouterr().out.splitlines()
    assert accepted == "1 row accepted"
    found = re.fullmatch(
        r"E1: (LOW|ELEVATED|HIGH|NO CALL YET), risk (.+)% \(90 % interval (.+)% to (.+)%\), support (.+)", score
    )
    assert found is not None, score
    risk, low, high = map(float, found.groups()[1:4])
    assert low <= risk <= high
    assert [line for line in more if line.startswith("  no call yet because: ")] or found.group(1) != "NO CALL YET"


def test_the_example_names_why_there_is_no_call_yet_and_why_the_support_is_limited() -> None:
    lines = example().shown({
        "batch_id": "B1", "call": "none yet", "call_cause": "both outcomes possible", "support": "limited",
        "support_causes": ["stale data"], "failure_probability": 0.02, "interval": [0.01, 0.3], "reasons": None,
    })  # fmt: skip
    assert lines == [
        "B1: NO CALL YET, risk 2.0% (90 % interval 1.0% to 30.0%), support limited: stale data",
        "  no call yet because: both outcomes possible",
    ]  # fmt: skip


def test_the_example_never_moves_the_start_of_a_batch_that_is_known(endpoint, client, capsys, monkeypatch) -> None:
    monkeypatch.setenv("BATCHGUARD_KEY", endpoint.key)
    client.put_batch("E2", BATCH)
    before = start_of(client, "E2")
    for value in ("5.0", "5.1"):
        example().main(endpoint.url, "E2", "north", "force_kn", value, "kN")
    assert start_of(client, "E2") == before
    assert "E2: " in capsys.readouterr().out


def test_the_example_announces_a_batch_once(endpoint, client, monkeypatch) -> None:
    monkeypatch.setenv("BATCHGUARD_KEY", endpoint.key)
    example().main(endpoint.url, "E3", "north", "force_kn", "5", "kN")
    first = start_of(client, "E3")
    example().main(endpoint.url, "E3", "north", "force_kn", "5.5", "kN")
    assert first == start_of(client, "E3")
    assert len(first) == 1


def test_the_example_asks_for_a_batch_by_its_whole_id(client) -> None:
    assert not client.knows("E4")
    client.put_batch("E4:2", BATCH)
    assert client.knows("E4:2")
    assert not client.knows("E4")


def lines_of(endpoint: Served, wanted: Callable[[dict], bool]) -> list[dict]:
    """The log's lines that are wanted, once there is one: a line is written after its request was answered."""
    for _ in range(6_000):
        lines = [json.loads(line) for line in endpoint.log.splitlines() if line.startswith("{") and line.endswith("}")]
        if found := [line for line in lines if wanted(line)]:
            return found
        time.sleep(0.01)
    raise AssertionError(endpoint.log)


def test_the_log_has_ids_and_no_payloads(endpoint, client) -> None:
    client.put_batch("B2", BATCH | {"subject_key": "subject-4711"})
    [line] = lines_of(endpoint, lambda line: line.get("route") == "/v1/batches/{batch_id}" and line["status"] == 201)[
        -1:
    ]
    assert {"request_id", "principal", "ms", "timestamp"} <= set(line)
    assert "subject-4711" not in endpoint.log
    assert endpoint.key not in endpoint.log


def closed_within(connection: socket.socket, seconds: float) -> bytes:
    """What came until the other side closed."""
    connection.settimeout(seconds)
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


def connect(endpoint: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", endpoint.port))


def test_slow_headers_and_idle_connections_are_closed_while_others_are_served(endpoint, client) -> None:
    idle = [connect(endpoint) for _ in range(100)]
    slow = connect(endpoint)
    slow.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-slow: ")
    assert client.put_batch("B3", BATCH)["batch_id"] == "B3"  # while the others hold their connections
    begin = time.monotonic()
    for connection in (slow, *idle):
        assert not closed_within(connection, 10).startswith(b"HTTP/1.1 2")  # closed, without having been served
        connection.close()
    assert time.monotonic() - begin < 10


def test_a_body_that_trickles_in_is_refused(endpoint) -> None:
    with connect(endpoint) as connection:
        head = (f"POST /v1/batches/B1/scores HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {endpoint.key}\r\n"
                "content-type: application/json\r\ncontent-length: 1000\r\n\r\n{")  # fmt: skip
        connection.sendall(head.encode())
        answer = closed_within(connection, 10)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_server_that_is_killed_loses_and_doubles_nothing(small_plant, tmp_path) -> None:
    """Clients repeat under the same key until they are answered; what was answered is there, once."""
    module = example()
    module.__dict__["WAITS_S"] = (0.2,) * 100
    answered: list[tuple[int, str]] = []

    def work(first: int) -> None:
        client = module.Client(endpoint.url, endpoint.key)
        for i in range(first, first + 15):
            client.add("B1", observations=[reading(1, 5.0, observed_at=f"2026-03-01T01:{i // 60:02d}:{i % 60:02d}Z")])
            answered.append((i, client.score("B1", "2026-03-01T06:00:00Z")["score_id"]))

    with served(tmp_path, small_plant) as endpoint:
        module.Client(endpoint.url, endpoint.key).put_batch("B1", BATCH)
        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100)]
        for thread in threads:
            thread.start()
        for _ in range(2):
            before = len(answered)
            while len(answered) < before + 3 and any(t.is_alive() for t in threads):
                time.sleep(0.01)
            endpoint.stop(signal.SIGKILL)
            endpoint.start()
        for thread in threads:
            thread.join()
        endpoint.stop()
        with RecordsAdmin(endpoint.data_dir) as admin, admin.records.read() as connection:
            kept = set(connection.execute(select(scores.c.score_id)).scalars())
            n_rows = connection.execute(select(func.count()).where(rows.c.table_name == "observations")).scalar_one()
            assert verification.verify(admin.records, admin.settings.anchor).problems == ()
    assert len(answered) == 30
    assert kept == {score_id for _, score_id in answered}
    assert n_rows == 30


def test_a_second_server_on_a_taken_port_or_data_directory_ends_with_one_line(endpoint, tmp_path) -> None:
    for second, reason in (
        (endpoint.command(data_dir=tmp_path), "is taken by another process"),
        (endpoint.command(port=free_port()), "is in use by another endpoint"),
    ):
        ran = subprocess.run(second, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (ran.returncode, len(ran.stderr.splitlines()), ran.stdout) == (1, 1, "")
        assert reason in ran.stderr
    with endpoint.open("/health/live") as answer:
        assert answer.status == 200


def test_no_worker_outlives_its_server_and_a_killed_worker_is_replaced(small_plant, tmp_path) -> None:
    with served(tmp_path, small_plant) as endpoint:
        assert endpoint.process is not None
        [worker] = psutil.Process(endpoint.process.pid).children()
        worker.kill()
        psutil.wait_procs([worker], timeout=60)
        module = example()
        module.__dict__["WAITS_S"] = (0.2,) * 600
        client = module.Client(endpoint.url, endpoint.key)
        assert client.put_batch("B1", BATCH)["revision"] == 0  # it waits in the socket's queue for the next worker
        [worker] = psutil.Process(endpoint.process.pid).children()
        endpoint.process.kill()
        gone, alive = psutil.wait_procs([worker], timeout=60)
        assert (gone, alive) == ([worker], [])
        endpoint.process.wait()
        endpoint.start()
        assert client.put_batch("B1", BATCH)["verdict"] == "duplicate"


def test_the_serving_process_imports_neither_the_orchestrator_nor_the_registry() -> None:
    code = (
        "import sys, serving.main, serving.commands, serving.model_releases, serving.api.app; "
        "print(sorted({'mlflow', 'dagster', 'pipelines', 'shap', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout.strip() == "[]"


def test_another_address_than_loopback_has_to_be_meant(tmp_path) -> None:
    from features.errors import BatchguardError
    from serving.server import Listen, serve

    with pytest.raises(BatchguardError, match="not loopback"):
        serve(tmp_path, "soup", tmp_path, None, Listen(host="0.0.0.0"))  # noqa: S104 - that it is refused is the test
    with pytest.raises(BatchguardError, match="go together"):
        serve(tmp_path, "soup", tmp_path, None, Listen(tls_cert=Path("x")))
