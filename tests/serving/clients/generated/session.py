"""One session of a generated client with the endpoint of URL and KEY; prints what it got as JSON."""

import json
import os
from importlib import import_module
from types import ModuleType

from batchguard_client import AuthenticatedClient
from batchguard_client.models import Inference, RequestedOutput, RequestedOutputName, ScoreRequest, Tensor, TensorName

MODEL = os.environ["MODEL"]
client = AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["KEY"])


def operation(name: str) -> ModuleType:
    return import_module(f"batchguard_client.api.default.{name}")


def inference(*batch_ids: str, as_of: str) -> Inference:
    tensors = {
        TensorName.BATCH_ID: list(batch_ids),
        TensorName.AS_OF: [as_of, "2026-03-01T01:30:00Z"][: len(batch_ids)],
    }
    inputs = [Tensor(name=name, datatype="BYTES", shape=[len(data)], data=data) for name, data in tensors.items()]
    return Inference(id="g-1", inputs=inputs, outputs=[RequestedOutput(name=RequestedOutputName.FAILURE_PROBABILITY)])


infer = operation("infer_v2_models_name_infer_post")
by_version = operation("infer_by_version_v2_models_name_versions_version_infer_post")
scored = operation("score_v1_batches_batch_id_scores_post").sync(client=client, batch_id="B-1", body=ScoreRequest())
request = inference("B-1", "B-1", as_of=scored.as_of)
server = operation("server_metadata_v2_get").sync(client=client)
model = operation("metadata_v2_models_name_get").sync(client=client, name=MODEL)
inferred = infer.sync(client=client, name=MODEL, body=request)
earlier = infer.sync(client=client, name=MODEL, body=inference("B-1", as_of="2026-03-01T01:30:00Z"))
found = {
    "live": operation("live_v2_health_live_get").sync(client=client).live,
    "ready": operation("ready_v2_health_ready_get").sync(client=client).ready,
    "server": server.name,
    "model": [model.name, model.versions],
    "inputs": [tensor.name for tensor in model.inputs],
    "model ready": operation("model_ready_v2_models_name_ready_get").sync(client=client, name=MODEL).ready,
    "version ready": operation("version_ready_v2_models_name_versions_version_ready_get")
    .sync(client=client, name=MODEL, version="3")
    .ready,
    "score": scored.failure_probability,
    "earlier": earlier.outputs[0].data[0],
    "infer": {"id": inferred.id, "version": inferred.model_version,
              **{output.name: output.data for output in inferred.outputs}},
    "error batch": infer.sync(client=client, name=MODEL, body=inference("B-0", as_of=scored.as_of)).error,
    "error version": by_version.sync(client=client, name=MODEL, version="9", body=request).error,
}  # fmt: skip
print(json.dumps(found))
