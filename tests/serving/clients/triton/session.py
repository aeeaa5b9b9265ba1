"""One session of NVIDIA's client with the endpoint of URL and KEY; prints what it got as JSON."""

import json
import os
from collections.abc import Callable

import numpy as np
from tritonclient import http
from tritonclient.utils import InferenceServerException

MODEL = os.environ["MODEL"]
AUTH = {"authorization": f"Bearer {os.environ['KEY']}"}
client = http.InferenceServerClient(os.environ["URL"].removeprefix("http://"))
found: dict[str, object] = {}


def tensor(batch_id: str, *, binary: bool = False) -> http.InferInput:
    made = http.InferInput("batch_id", [1], "BYTES")
    return made.set_data_from_numpy(np.array([batch_id], dtype=object), binary_data=binary)


def shared() -> http.InferInput:
    return http.InferInput("batch_id", [1], "BYTES").set_shared_memory("region", 8)


def infer(tensor: http.InferInput, *, headers: dict[str, str] = AUTH, **more) -> dict[str, object]:
    result = client.infer(MODEL, [tensor], headers=dict(headers), **more)
    response = result.get_response()
    names = [output["name"] for output in response["outputs"]]
    return response | {"outputs": {name: result.as_numpy(name).tolist() for name in names}}


def refused(name: str, ask: Callable[[], object]) -> None:
    try:
        found[f"error {name}"] = f"answered: {ask()}"
    except InferenceServerException as error:
        found[f"error {name}"] = str(error)


found["live"], found["ready"] = client.is_server_live(), client.is_server_ready()
found["server"] = client.get_server_metadata(headers=AUTH)
found["model"] = client.get_model_metadata(MODEL, headers=AUTH)
found["version"] = client.get_model_metadata(MODEL, "3", headers=AUTH)
found["model ready"] = client.is_model_ready(MODEL, headers=AUTH)
found["version ready"] = client.is_model_ready(MODEL, "3", headers=AUTH)
found["other version ready"] = client.is_model_ready(MODEL, "9", headers=AUTH)
batch, probability = tensor("B-1"), http.InferRequestedOutput("failure_probability")
found["infer"] = infer(batch, request_id="t-1")
found["infer one output"] = infer(batch, outputs=[probability])
found["infer with parameters"] = infer(batch, priority=3, timeout=5, sequence_id=7, parameters={"line": "a"})
found["infer by version"] = infer(batch, model_version="3")
refused("batch", lambda: infer(tensor("B-0")))
refused("version", lambda: infer(batch, model_version="9"))
refused("binary", lambda: infer(tensor("B-1", binary=True)))
refused("shared memory", lambda: infer(shared()))
refused(
    "classification", lambda: infer(batch, outputs=[http.InferRequestedOutput("failure_probability", class_count=2)])
)
refused("gzip", lambda: infer(batch, request_compression_algorithm="gzip"))
refused("deflate", lambda: infer(batch, request_compression_algorithm="deflate"))
refused("key", lambda: infer(batch, headers={}))
refused("extension", lambda: client.get_model_config(MODEL, headers=AUTH))
print(json.dumps(found))
