"""A real endpoint of the small plant in a process of its own, on loopback."""

import contextlib
from collections.abc import Generator
from pathlib import Path

from benchmarks.serving.process import Served, free_port
from serving.access.keys import add_key
from serving.audit.chain import Actor
from serving.commands import RecordsAdmin
from serving.records.store import Records
from tests.serving.small_plant import SmallPlant


@contextlib.contextmanager
def served(
    folder: Path, plant: SmallPlant, *, role: str = "mes", config: str = "", records_url: str = "", **more
) -> Generator[Served]:
    models, data_dir = folder / "models", folder / "data"
    models.mkdir(exist_ok=True)
    data_dir.mkdir(exist_ok=True)
    (data_dir / "endpoint.toml").write_text(config)
    environment = {"BATCHGUARD_RECORDS_URL": records_url} if records_url else {}
    with RecordsAdmin(data_dir) as admin:
        if records_url:
            other = Records(records_url)
            plant.release(other, models, data_dir / "keys")
            other.close()
        plant.release(admin.records, models, data_dir / "keys")
        _, key = add_key(admin.records, name="MES", kind="service", role=role, sites=["north"], expires_us=None,
                         actor=Actor("test", "operator", "test"))  # fmt: skip
    found = Served(data_dir, models, free_port(), key, environment, process_id="soup", **more)
    found.start()
    try:
        found.wait_until_ready()
        yield found
    finally:
        found.stop()
