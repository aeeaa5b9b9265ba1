"""`batchguard release`: options in, one call of `serving.release`, lines out. A secret is never an argument."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import DataOption, ProcessOption
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.plant import Plant
    from serving.commands import RecordsAdmin
    from serving.release.history import ReleaseStatus
    from serving.release.service import ReleaseService
    from serving.release.signatures import SignRequest

SECRET = "BATCHGUARD_SIGNING_SECRET"  # noqa: S105 - the name of the variable
release = typer.Typer(no_args_is_help=True, help="Release of a model version by two persons.")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings of the endpoint; absent: endpoint.toml in the data directory.")
]
ReleaseArgument = Annotated[str, typer.Argument(help="Version of the model, or the beginning of a release id.")]
SignerOption = Annotated[
    str,
    typer.Option(help=f"Your id: the subject of your key. The secret comes from {SECRET}, or is asked for."),
]
ReasonOption = Annotated[str, typer.Option(help="Goes into the record.")]
DeviationOption = Annotated[str | None, typer.Option(help="Id of a deviation or CAPA in the plant's own system.")]


class Document(StrEnum):
    """Documents that are signed before the test is read."""

    intended_use = "intended_use"
    acceptance = "acceptance"


@dataclass(frozen=True)
class _Session:
    plant: Plant
    admin: RecordsAdmin
    service: ReleaseService

    def release(self, name: str) -> ReleaseStatus:
        from serving.release.local_service import named

        return named(self.service, name)

    def claimed(self, name: str, reason: str) -> ReleaseStatus:
        """The release, for a reason that claims no more than its evidence."""
        from pipelines.evidence import refuse_false_claim

        found = self.release(name)
        refuse_false_claim(self.plant, found.version, reason)
        return found


@release.command("init-keys")
def init_keys(data_dir: DataOption = Path("var")) -> None:
    """Make the site's keys of author and approver: private keys for their owner, public ones that the endpoint trusts."""
    from serving.model_releases import KEYS
    from serving.release.site_keys import make_keys

    for role, key_id in make_keys(data_dir / KEYS).items():
        typer.echo(f"{data_dir / KEYS / role}.pem and .pub: key {key_id[:16]}")


@release.command("sign-document")
def sign_document_command(
    kind: Annotated[Document, typer.Argument(help="The document, which lies beside the process definition.")],
    process: ProcessOption,
    signer: SignerOption,
    reason: ReasonOption,
    data_dir: DataOption = Path("var"),
    config: ConfigOption = None,
    deviation: DeviationOption = None,
) -> None:
    """Sign the intended use or the acceptance criteria, as an approver, before the test is read."""
    from features.errors import BatchguardError
    from pipelines.signed_documents import document_path
    from serving.release.documents import sign_document

    with _open_session(process, data_dir, config) as session:
        path = document_path(session.plant, kind.value)
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BatchguardError(f"{path}: cannot be read ({error})") from None
        request = _request(signer, reason, deviation)
        found = sign_document(
            session.admin.records, session.service.signers, kind.value, session.plant.process.id, content, request
        )
    typer.echo(f"{path.name} {found.sha256[:12]} signed by {found.signer_name} at {found.local_time} ({found.zone})")


@release.command("submit")
def submit(
    version: Annotated[str, typer.Argument(help="Version of the model in the registry.")],
    process: ProcessOption,
    signer: SignerOption,
    reason: ReasonOption,
    data_dir: DataOption = Path("var"),
    config: ConfigOption = None,
    deviation: DeviationOption = None,
) -> None:
    """Draft to tested: check the criteria, write the bundle, sign it as its author."""
    from models.registry import Registry
    from pipelines.bundle_export import export
    from pipelines.evidence import evidence_of, refuse_false_claim

    with _open_session(process, data_dir, config) as session:
        refuse_false_claim(session.plant, version, reason)
        model = Registry(data_dir).by_version(session.plant.process.id, version)
        write = partial(export, session.plant, model)
        evidence = partial(evidence_of, session.plant, model, session.admin.records)
        made = session.service.submit(version, write, evidence, _request(signer, reason, deviation))
    _print_state(made)


def _signed_step(
    command: str, about: str, step: Callable[[_Session, str, str], Callable[[SignRequest], ReleaseStatus]]
) -> None:
    """Add a command that a person signs about a release that exists.

    Args:
        command: Its name.
        about: What it does, for `--help`.
        step: Finds the release by name, for a reason, and returns what the signature does.
    """

    @release.command(command, help=about)
    def run(
        name: ReleaseArgument,
        process: ProcessOption,
        signer: SignerOption,
        reason: ReasonOption,
        data_dir: DataOption = Path("var"),
        config: ConfigOption = None,
        deviation: DeviationOption = None,
    ) -> None:
        with _open_session(process, data_dir, config) as session:
            signed = step(session, name, reason)
            made = signed(_request(signer, reason, deviation))
        _print_state(made)


_signed_step(
    "approve",
    "Tested to approved: sign as another person than the author.",
    lambda session, name, reason: partial(session.service.approve, session.claimed(name, reason).release_id),
)
_signed_step(
    "reject",
    "Tested or approved back to draft.",
    lambda session, name, _: partial(session.service.reject, session.release(name).release_id),
)
_signed_step(
    "make-effective",
    "Approved to effective: it scores from now on, and a running endpoint follows within seconds.",
    lambda session, name, reason: partial(session.service.make_effective, session.claimed(name, reason).release_id),
)


@release.command("rollback")
def rollback(
    process: ProcessOption,
    signer: SignerOption,
    reason: ReasonOption,
    data_dir: DataOption = Path("var"),
    config: ConfigOption = None,
    deviation: DeviationOption = None,
) -> None:
    """Retire the effective release; the one that was effective before it is effective again."""
    with _open_session(process, data_dir, config) as session:
        made = session.service.rollback(_request(signer, reason, deviation))
    _print_state(made)


@release.command("status")
def status(process: ProcessOption, data_dir: DataOption = Path("var"), config: ConfigOption = None) -> None:
    """Every version with its release, state and signatures."""
    from models.registry import Registry

    with _open_session(process, data_dir, config) as session:
        found = session.service.all()
        versions = [model.version for model in Registry(data_dir).all(session.plant.process.id)]
    for version in [v for v in versions if v not in {each.version for each in found}]:
        typer.echo(f"version {version}: draft, not submitted")
    for each in found:
        _print_state(each)
        for action in each.actions:
            deviation = f"; deviation {action['deviation']}" if action["deviation"] else ""
            typer.echo(
                f"  {action['local_time']} ({action['zone']}) {action['action']} by {action['signer_name']} "
                f"({action['subject']}), {action['meaning']}: {action['reason']}{deviation}"
            )
    if not any(each.state == "effective" for each in found):
        typer.echo("no release is effective: nothing is served, and scores are a preview")


@release.command("envelope")
def envelope(
    name: ReleaseArgument, process: ProcessOption, data_dir: DataOption = Path("var"), config: ConfigOption = None
) -> None:
    """The DSSE envelope of a release, for other clients to verify."""
    with _open_session(process, data_dir, config) as session:
        texts = [each["envelope"] for each in session.release(name).actions if each["envelope"]]
    typer.echo(texts[-1])


@contextlib.contextmanager
def _open_session(process: Path, data_dir: Path, config: Path | None) -> Generator[_Session]:
    from pipelines.bundle_export import bundles_of
    from pipelines.plant import Plant
    from pipelines.release_mirror import mirror_releases
    from serving.commands import RecordsAdmin
    from serving.release.local_service import service_of

    settings = Settings(process, Path(), data_dir)
    plant = Plant(settings)
    process_id = plant.process.id
    mirror_releases(plant, _print_warning, config=config)
    with RecordsAdmin(data_dir, config) as admin:
        before = admin.records.head().audit_seq
        try:
            yield _Session(plant, admin, service_of(admin, data_dir, bundles_of(settings, process_id).root, process_id))
        finally:
            if admin.records.head().audit_seq > before:
                contradiction = admin.note()
                if contradiction:
                    _print_warning(contradiction)
                mirror_releases(plant, _print_warning, config=config, expected=True)


def _request(signer: str, reason: str, deviation: str | None) -> SignRequest:
    from serving.ids import new_id, now_us
    from serving.release.signatures import SignRequest

    secret = os.environ.get(SECRET) or typer.prompt(f"Secret of {signer}", hide_input=True, err=True)
    return SignRequest(signer, secret, reason, deviation, f"cli-{new_id(now_us())}")


def _print_warning(line: str) -> None:
    typer.echo(line, err=True)


def _print_state(found: ReleaseStatus) -> None:
    typer.echo(f"version {found.version}: {found.state}, release {found.release_id}")
