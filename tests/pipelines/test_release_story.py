"""A release from the draft to the endpoint and back, by the command line: who signed what, what was refused, what the trail tells."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fastapi.testclient import TestClient
from typer.testing import Result

from models.registry import CHAMPION, Registry
from pipelines.bundle_export import bundles_of
from pipelines.plant import Plant
from pipelines.release_command import SECRET
from pipelines.result import newest_scores
from serving.main import assemble
from serving.model_releases import KEYS
from serving.settings import load_settings
from tests.pipelines.small_plant import Place

pytestmark = pytest.mark.slow


@dataclass
class Story:
    """A plant, its people and their secrets."""

    place: Place
    run: Callable[..., Result]
    monkeypatch: pytest.MonkeyPatch
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def options(self) -> tuple[str, ...]:
        return ("--process", str(self.place.process), "--data-dir", str(self.place.data_dir))

    def person(self, subject: str, role: str) -> None:
        told = self.run("keys", "add", subject.capitalize(), "--role", role, "--site", "*", "--person", "--subject", subject,
                        "--data-dir", str(self.place.data_dir))  # fmt: skip
        self.secrets[subject] = told.output.splitlines()[1]

    def release(self, who: str, *what: str, reason: str = "figures read") -> Result:
        self.monkeypatch.setenv(SECRET, self.secrets[who])
        return self.run("release", *what, *self.options, "--signer", who, "--reason", reason)

    def score(self) -> Result:
        return self.run("score", *self.place.options(), "--as-of", "history")

    def plant(self) -> Plant:
        return Plant(self.place.settings())

    def trail(self) -> list[dict]:
        told = self.run("audit", "export", "--data-dir", str(self.place.data_dir)).output
        return [json.loads(line) for line in told.splitlines()]


@pytest.fixture
def story(fresh, run, monkeypatch) -> Story:
    return Story(fresh, run, monkeypatch)


def refused(told: Result, said: str) -> None:
    assert told.exit_code == 1, told.output
    assert re.search(said, told.stderr), told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


def done(told: Result, said: str) -> None:
    assert told.exit_code == 0, told.output
    assert re.search(said, told.output), told.output


def test_a_release_from_draft_to_the_endpoint_and_back(story) -> None:
    trials = ("--trials", "2")
    done(story.run("run", *story.place.options(), "--as-of", "history", *trials), "Preview by version 1, not released")
    assert {score.model.release_id for score in newest_scores(story.plant())} == {None}

    done(story.run("release", "init-keys", "--data-dir", str(story.place.data_dir)), "author.pem and .pub")
    for subject, role in (("anna", "approver"), ("boris", "approver"), ("rita", "reviewer")):
        story.person(subject, role)

    refused(story.release("anna", "submit", "1"), "nobody has signed small.intended_use.toml")
    refused(story.release("rita", "sign-document", "acceptance"), "role reviewer cannot do this")
    for kind in ("intended_use", "acceptance"):
        done(
            story.release("boris", "sign-document", kind, reason="agreed with quality"),
            f"small.{kind}.toml .* by Boris",
        )

    refused(story.release("anna", "submit", "1"), "its test was not read")
    done(story.run("train", *story.place.options(), *trials), "its test is read under the signed criteria")

    done(story.release("anna", "submit", "1"), "version 1: tested")
    refused(story.release("anna", "approve", "1"), "anna submitted this release and cannot approve it")
    refused(story.release("boris", "make-effective", "1"), "is tested: it cannot be made effective")
    done(story.release("boris", "approve", "1"), "version 1: approved")
    done(story.release("boris", "make-effective", "1"), "version 1: effective")

    done(story.score(), r"By version 1, released by two persons")
    first = {score.model.release_id for score in newest_scores(story.plant())}
    assert served(story) == ("1", "two persons")

    registry = Registry(story.place.data_dir)
    client = registry.store.client()
    client.set_registered_model_alias("small", CHAMPION, "1")
    client.set_model_version_tag("small", "1", "state", "retired")
    client.delete_registered_model_alias("small", CHAMPION)  # by somebody who can open MLflow
    told = story.score()
    done(told, "By version 1, released by two persons")
    assert "alias champion pointed to no version; the records say version 1: set back" in " ".join(told.output.split())
    champion = registry.by_alias("small", CHAMPION)
    assert champion is not None
    assert champion.version == "1"

    decided = story.place.read("dispositions")
    decided.loc[40:43, "outcome"] = ["rejected", "released", "rejected", "released"]
    story.place.replace("dispositions", decided)
    done(story.score(), "By version 1, released by two persons")  # takes the corrections in
    done(story.run("train", *story.place.options(), *trials), "version 2")
    done(story.score(), "By version 1, released by two persons")  # a challenger never scores
    done(story.release("rita", "submit", "2"), "version 2: tested")
    done(story.release("anna", "approve", "2"), "version 2: approved")
    done(story.release("boris", "make-effective", "2"), "version 2: effective")
    done(story.score(), "By version 2, released by two persons")
    assert served(story) == ("2", "two persons")

    done(story.release("anna", "rollback", reason="CAPA-12: too many alarms"), "version 1: effective")
    done(story.score(), "By version 1, released by two persons")
    assert {score.model.release_id for score in newest_scores(story.plant())} == first
    assert served(story) == ("1", "two persons")

    done(story.run("release", "status", *story.options), "version 2: retired")
    done(story.run("audit", "verify", "--data-dir", str(story.place.data_dir)), " 0 problems")
    told = [(e["action"], json.loads(e["new"] or "{}")) for e in story.trail()]
    assert [(new["version"], new["action"]) for action, new in told if action == "release"] == [
        ("1", "submit"), ("1", "approve"), ("1", "make_effective"), ("2", "submit"), ("2", "approve"), ("1", "retire"),
        ("2", "make_effective"), ("2", "rollback"), ("1", "restore"),
    ]  # fmt: skip
    assert [new["version"] for action, new in told if action == "model_served"] == ["1", "2", "1"]
    assert len([1 for action, _ in told if action == "alias_moved"]) == 1
    assert len([1 for action, _ in told if action == "signature_refused"]) == 2


def served(story: Story) -> tuple[str, str]:
    """Version and keys of the model that an endpoint over the data directory serves."""
    data_dir, settings = story.place.data_dir, load_settings(story.place.data_dir)
    key = story.run(
        "keys", "add", "MES", "--role", "mes", "--site", "*", "--data-dir", str(data_dir)
    ).output.splitlines()[1]
    app = assemble(settings, bundles_of(story.place.settings(), "small").root, data_dir / KEYS, "small")
    with TestClient(app, headers={"authorization": f"Bearer {key}"}) as client:
        said = client.get("/v1/model").json()
        watcher_has_noted(story)
    return said["version"], said["released_by"]


def watcher_has_noted(story: Story) -> None:
    """Wait for the entry on the serving model, which a thread writes."""
    for _ in range(600):
        served_last = [e for e in story.trail() if e["action"] == "model_served"]
        effective = [json.loads(e["new"]) for e in story.trail() if e["action"] == "release"]
        ids = [new["release_id"] for new in effective if new["state"] == "effective"]
        if served_last and json.loads(served_last[-1]["new"])["release_id"] == ids[-1]:
            return
        time.sleep(0.1)
