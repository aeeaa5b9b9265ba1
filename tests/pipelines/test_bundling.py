"""From the registry to a bundle that the endpoint loads."""

import pytest

from features.context import vocabulary
from pipelines.bundling import KEYS, bundles_of, export
from pipelines.plant import Plant
from serving.bundle.keeper import Keeper
from serving.bundle.manifest import trusted_keys


def test_a_version_of_the_registry_becomes_a_signed_bundle_that_can_speak(clone, run, ran):
    done = run("bundle", "1", "--process", clone.process, "--data-dir", clone.data_dir)
    assert done.exit_code == 0, done.output
    plant = Plant(clone.settings())
    store = bundles_of(plant.settings, "small")
    assert store.pointed() in done.output
    assert "small version 1, unreviewed" in done.output
    speaking = Keeper(store, trusted_keys(clone.data_dir / KEYS), canary=lambda bundle: None).refresh()
    assert speaking.bundle.process == plant.process
    assert speaking.bundle.vocabulary == vocabulary(plant.context_tables(), plant.process)
    assert (plant.models_dir / speaking.predictor.sha256).is_dir()


def test_the_champion_can_be_named_and_an_unknown_version_is_refused(clone, run):
    assert export(clone.settings(), "champion").manifest.version == "1"
    refused = run("bundle", "7", "--process", clone.process, "--data-dir", clone.data_dir)
    assert refused.exit_code == 1
    assert "has no version '7'" in refused.output


@pytest.mark.parametrize("name", ["predictor.json", "model.0.txt"])
def test_a_changed_predictor_is_not_signed(clone, run, name):
    path = next(clone.data_dir.glob(f"mlartifacts/small/*/artifacts/predictor/{name}"))
    path.write_bytes(path.read_bytes() + b" ")
    refused = run("bundle", "1", "--process", clone.process, "--data-dir", clone.data_dir)
    assert refused.exit_code == 1
    assert "was changed" in refused.output
    assert not (clone.data_dir / "bundles").exists()
