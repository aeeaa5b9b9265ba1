"""One session of KServe's client with the endpoint of URL and KEY; prints what it got as JSON."""

import asyncio
import json
import os
from collections.abc import Coroutine

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

URL, MODEL = os.environ["URL"], os.environ["MODEL"]
AUTH = {"authorization": f"Bearer {os.environ['KEY']}"}
found: dict[str, object] = {}


def request(batch_id: str = "B-1", *, model: str = MODEL, binary: bool = False, **more) -> InferRequest:
    tensor = InferInput("batch_id", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([batch_id], dtype=object), binary_data=binary)
    return InferRequest(model, [tensor], request_id="k-1", **more)


async def session(client: InferenceRESTClient) -> None:
    async def infer(asked: InferRequest | dict, headers: dict[str, str] = AUTH) -> dict[str, object]:
        answer = await client.infer(URL, asked, model_name=MODEL, headers=dict(headers))
        outputs = {output.name: output.as_numpy().tolist() for output in answer.outputs}
        return {"id": answer.id, "model_name": answer.model_name, "outputs": outputs}

    async def refused(name: str, asking: Coroutine) -> None:
        try:
            found[f"error {name}"] = f"answered: {await asking}"
        except httpx.HTTPStatusError as error:
            found[f"error {name}"] = str(error)

    found["live"], found["ready"] = await client.is_server_live(URL), await client.is_server_ready(URL)
    found["model ready"] = await client.is_model_ready(URL, MODEL, headers=AUTH)
    found["other model ready"] = await client.is_model_ready(URL, "other", headers=AUTH)
    found["infer"] = await infer(request(parameters={"priority": 1}))
    found["infer one output"] = await infer(request(request_outputs=[RequestedOutput("failure_probability")]))
    tensor = {"name": "batch_id", "shape": [1], "datatype": "BYTES", "data": ["B-1"]}
    found["infer as a dictionary"] = await infer({"inputs": [tensor]})
    await refused("batch", infer(request("B-0")))
    await refused("binary", infer(request(binary=True)))
    await refused("name", infer(request(model="other")))
    await refused("key", infer(request(), headers={}))


async def main() -> None:
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        await session(client)


asyncio.run(main())
print(json.dumps(found))
