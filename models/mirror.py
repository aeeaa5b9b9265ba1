"""The registry's alias and tags as a mirror of the signed records.

Whoever can open MLflow can move an alias or edit a tag. Nothing follows them: each is compared with the records and set back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
DIGEST = "predictor_sha256"  # the tag of runs and versions
STATE, DRAFT, EFFECTIVE = "state", "draft", "effective"
REVIEW, UNREVIEWED, RELEASED = "review", "unreviewed", "released"


def mirrored(
    client: MlflowClient, name: str, versions: Sequence[ModelVersion], effective: str | None, states: Mapping[str, str]
) -> list[str]:
    """Set alias and tags as the records have them; what was different, one line each.

    Args:
        client: Of the registry.
        name: The registered model.
        versions: All its versions, with their aliases.
        effective: Version that the records call effective; None: there is none.
        states: State by version; a version without one is a draft.
    """
    found = []
    pointed = next((str(version.version) for version in versions if CHAMPION in version.aliases), None)
    if pointed != effective:
        found.append(f"{name}: alias {CHAMPION} pointed to {_named(pointed)}; the records say {_named(effective)}")
        if effective is None:
            client.delete_registered_model_alias(name, CHAMPION)
        else:
            client.set_registered_model_alias(name, CHAMPION, effective)
    for version in versions:
        state = states.get(str(version.version), DRAFT)
        wanted = {STATE: state, REVIEW: RELEASED if state == EFFECTIVE else UNREVIEWED}
        for tag, value in wanted.items():
            seen = version.tags.get(tag)
            if seen != value:
                found.append(
                    f"{name} version {version.version}: tag {tag} was {seen or 'absent'}; the records say {value}"
                )
                client.set_model_version_tag(name, str(version.version), tag, value)
    return found


def with_digests(client: MlflowClient, name: str, versions: Sequence[ModelVersion]) -> list[str]:
    """Give a version back the tag with the digest of its predictor, which its run still has; one line each.

    Without that tag a version counts as somebody else's: it could neither score nor be looked up.
    """
    found = []
    for version in versions:
        if DIGEST in version.tags:
            continue
        sha256 = client.get_run(str(version.run_id)).data.tags.get(DIGEST) if version.run_id else None
        if sha256:
            found.append(f"{name} version {version.version}: tag {DIGEST} was absent; its run says {sha256[:12]}")
            client.set_model_version_tag(name, str(version.version), DIGEST, sha256)
    return found


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no version"
