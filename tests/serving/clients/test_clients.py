"""The inference protocol's own clients, and one generated from our description, against a real endpoint."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from benchmarks.serving.process import ROOT, Served
from tests.serving.served import served
from tests.serving.services import BATCH, reading

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
UV = Path(sys.executable).with_name("uv")
Python = Callable[[str], Path]


@pytest.fixture(scope="module")
def endpoint(small_plant, tmp_path_factory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("clients"), small_plant) as found:
        ask(found, "PUT", "/v1/batches/B-1", BATCH)
        ask(found, "POST", "/v1/batches/B-1/observations", {"observations": [reading(1, 5.0), reading(2, 7.0)]})
        yield found


def ask(endpoint: Served, method: str, path: str, body: dict | None = None) -> bytes:
    headers = {"authorization": f"Bearer {endpoint.key}", "content-type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{endpoint.url}{path}", content, headers, method=method)  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own
        return answer.read()


@pytest.fixture(scope="module")
def python(pytestconfig) -> Python:
    """Makes, and keeps in pytest's cache, the locked environment of a client; its Python."""

    def made(name: str) -> Path:
        lock = (HERE / name / "uv.lock").read_bytes() + sys.version.encode()
        place = pytestconfig.cache.mkdir("clients") / f"{name}-{sha256(lock).hexdigest()[:16]}"
        command = [UV, "sync", "--frozen", "--quiet", "--project", HERE / name, "--python", sys.executable]
        ran = subprocess.run(command, env=os.environ | {"UV_PROJECT_ENVIRONMENT": str(place)}, capture_output=True,
                             text=True)  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return place / "bin" / "python"

    return made


def run(python: Path, script: Path | str, endpoint: Served, **more: str) -> str:
    """What a script prints that gets address and key of the endpoint as in the documentation."""
    environment = {"URL": endpoint.url, "KEY": endpoint.key, "MODEL": "soup"} | more
    arguments = ["-c", script] if isinstance(script, str) else [script]
    ran = subprocess.run([python, *arguments], env=os.environ | environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def documented(library: str) -> str:
    """The Python block of docs/serving.md that imports a library."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/serving.md").read_text(), re.MULTILINE | re.DOTALL)
    [found] = [block for block in blocks if re.search(rf"^(?:import|from) {library}\b", block, re.MULTILINE)]
    return found


@pytest.fixture(scope="module")
def generated(endpoint, python, tmp_path_factory) -> tuple[Path, Path]:
    """Python of a client that was generated from the endpoint's own description, and where that client is."""
    folder, program = tmp_path_factory.mktemp("generated"), python("generated")
    (folder / "openapi.json").write_bytes(ask(endpoint, "GET", "/openapi.json"))
    (folder / "config.yaml").write_text("post_hooks: []\n")
    command = [program.with_name("openapi-python-client"), "generate", "--path", "openapi.json", "--meta", "none",
               "--output-path", "batchguard_client", "--config", "config.yaml", "--fail-on-warning"]  # fmt: skip
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return program, folder


def of(found: dict, *names: str) -> list:
    return [found[name] for name in names]


def test_tritonclient_gets_what_the_protocol_promises(endpoint, python) -> None:
    found = json.loads(run(python("triton"), HERE / "triton" / "session.py", endpoint))
    assert of(found, "live", "ready", "model ready", "version ready", "other version ready") == [
        True, True, True, True, False,
    ]  # fmt: skip
    assert found["server"]["name"] == "batchguard"
    assert found["server"]["extensions"] == []
    assert found["model"] == found["version"]
    assert (found["model"]["name"], found["model"]["versions"]) == ("soup", ["3"])
    every = found["infer"]
    assert [every["id"], every["model_version"], list(every["outputs"])] == [
        "t-1", "3", ["failure_probability", "score_id", "score"],
    ]  # fmt: skip
    [probability], [record] = every["outputs"]["failure_probability"], every["outputs"]["score"]
    assert json.loads(record)["failure_probability"] == probability
    assert found["infer one output"]["outputs"] == {"failure_probability": [probability]}
    assert found["infer with parameters"]["outputs"]["failure_probability"] == [probability]
    assert found["infer by version"]["outputs"]["failure_probability"] == [probability]
    errors = {name.removeprefix("error "): text for name, text in found.items() if name.startswith("error ")}
    assert "binary tensors are not read" in errors.pop("binary")
    assert errors == {
        "batch": "[404] Not found: no batch 'B-0'. PUT it first, or use a key of its site.",
        "version": "[404] Not found: the serving model has another version. GET /v2/models/soup gives its version.",
        "classification": "[422] The request does not fit the schema: body/outputs/0: parameter classification:"
        " expected an output as it is, in the JSON",
        "shared memory": "[422] The request does not fit the schema: body/inputs/0: parameter shared_memory_region:"
        " expected `data` in the JSON, neither binary nor in shared memory",
        "gzip": "[415] Compressed bodies are not accepted: send the body as it is",
        "deflate": "[415] Compressed bodies are not accepted: send the body as it is",
        "key": "[401] Not authenticated: no key or token; expected Authorization: Bearer ...",
        "extension": "[404] Not Found",
    }


def test_the_client_of_kserve_gets_what_the_protocol_promises(endpoint, python) -> None:
    found = json.loads(run(python("kserve"), HERE / "kserve" / "session.py", endpoint))
    assert of(found, "live", "ready", "model ready", "other model ready") == [True, True, True, False]
    every = found["infer"]
    assert [every["id"], every["model_name"], list(every["outputs"])] == [
        "k-1", "soup", ["failure_probability", "score_id", "score"],
    ]  # fmt: skip
    [probability] = every["outputs"]["failure_probability"]
    assert found["infer one output"]["outputs"] == {"failure_probability": [probability]}
    assert found["infer as a dictionary"]["outputs"]["failure_probability"] == [probability]
    errors = {name.removeprefix("error "): text for name, text in found.items() if name.startswith("error ")}
    assert errors["binary"].startswith("The body is not JSON as it is accepted here: binary tensors are not read;")
    assert errors["batch"].startswith("Not found: no batch 'B-0'.")
    assert errors["name"].startswith("Cannot be accepted: the body names another model than the address;")
    assert errors["key"].startswith("Not authenticated: no key or token;")


def test_a_client_generated_from_the_description_reads_and_scores(endpoint, generated) -> None:
    program, folder = generated
    found = json.loads(run(program, HERE / "generated" / "session.py", endpoint, PYTHONPATH=str(folder)))
    assert of(found, "live", "ready", "model ready", "version ready") == [True, True, True, True]
    assert of(found, "server", "model", "inputs") == ["batchguard", ["soup", ["3"]], ["batch_id", "as_of"]]
    assert found["infer"] == {"id": "g-1", "version": "3", "failure_probability": [found["score"], found["earlier"]]}
    assert found["score"] != found["earlier"]
    assert found["error batch"] == "Not found: no batch 'B-0'. PUT it first, or use a key of its site."
    assert found["error version"].startswith("Not found: the serving model has another version.")


@pytest.mark.parametrize("name", ["triton", "kserve"])
def test_what_the_documentation_shows_of_a_client_runs(endpoint, python, name) -> None:
    library = {"triton": "tritonclient", "kserve": "kserve"}[name]
    told = run(python(name), documented(library), endpoint)
    assert re.fullmatch(r"\[0\.\d+\]\n", told)


def test_what_the_documentation_shows_of_a_generated_client_runs(endpoint, generated) -> None:
    program, folder = generated
    told = run(program, documented("batchguard_client"), endpoint, PYTHONPATH=str(folder))
    assert re.fullmatch(r"\[0\.\d+\]\n", told)
