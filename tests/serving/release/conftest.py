from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from serving.bundle.bundle import Bundle
from serving.records.store import Records
from serving.release.evidence import Evidence
from serving.release.history import ReleaseStatus
from serving.release.service import ReleaseService
from serving.release.signatures import SignRequest
from serving.release.site_keys import make_keys
from tests.serving.releases import EVIDENCE, by, service_of
from tests.serving.services import NOON
from tests.serving.small_plant import SmallPlant


@dataclass
class Office:
    """Releases of the small plant, with keys of the site."""

    plant: SmallPlant
    records: Records
    root: Path
    keys: Path
    tried: list[str] = field(default_factory=list)

    @property
    def service(self) -> ReleaseService:
        return service_of(
            self.records, self.root, self.keys, "soup", clock=lambda: NOON, kind="site", canary=self.canary
        )

    def canary(self, bundle: Bundle) -> None:
        self.tried.append(bundle.manifest.version)

    def export(self, version: str) -> Callable[[int], Bundle]:
        return lambda submission: self.plant.bundle(self.root, version, submission)

    def submit(
        self,
        version: str = "1",
        request: SignRequest | None = None,
        evidence: Callable[[], Evidence] = lambda: EVIDENCE,
    ) -> ReleaseStatus:
        return self.service.submit(version, self.export(version), evidence, request or by("anna"))

    def effective(self, version: str) -> str:
        release_id = self.submit(version).release_id
        self.service.approve(release_id, by("boris"))
        return self.service.make_effective(release_id, by("boris")).release_id


@pytest.fixture
def office(small_plant: SmallPlant, records: Records, tmp_path: Path) -> Office:
    make_keys(tmp_path / "keys")
    return Office(small_plant, records, tmp_path / "bundles", tmp_path / "keys")
