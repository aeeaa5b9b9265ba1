"""`batchguard serve`, `keys`, `audit` and `score --replay`: options in, one call of `serving.commands`, lines out."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import BatchguardError
from pipelines.options import DataOption, ProcessOption
from pipelines.ports import check_free
from pipelines.settings import Settings

if TYPE_CHECKING:
    from serving.commands import RecordsAdmin

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings of the endpoint; absent: endpoint.toml in the data directory.")
]

DeviationOption = Annotated[
    str | None,
    typer.Option("--deviation", help="Id of a deviation in the plant's own system, exactly; absent: all."),
]


class ExportForm(StrEnum):
    """Form of exported records."""

    csv = "csv"
    b2mml = "b2mml"


keys = typer.Typer(no_args_is_help=True, help="API keys of the endpoint.")
audit = typer.Typer(no_args_is_help=True, help="The endpoint's audit trail.")
records = typer.Typer(no_args_is_help=True, help="Reviews, findings and releases in the records.")


def serve_command(
    process: ProcessOption,
    data_dir: DataOption = Path("var"),
    config: ConfigOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback unless --listen-anywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    listen_anywhere: Annotated[bool, typer.Option("--listen-anywhere", help="Other machines may connect.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM.")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="Clients need a certificate of this authority.")] = None,
) -> None:
    """Serve scores to an MES: HTTP on loopback, until Ctrl-C."""
    check_free({"--port": port}, host)  # before the imports, which take seconds
    from pipelines.bundle_export import bundles_of
    from pipelines.plant import Plant
    from serving.server import Listen, serve

    listen = Listen(host, port, listen_anywhere, tls_cert, tls_key, tls_client_ca)
    listen.check()
    plant = Plant(Settings(process, Path(), data_dir))
    serve(bundles_of(plant.settings, plant.process.id).root, plant.process.id, data_dir, config, listen)


@keys.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="Holder of the key.")],
    role: Annotated[str, typer.Option(help="mes, viewer, reviewer, approver or admin.")],
    site: Annotated[
        list[str], typer.Option(help="A site whose batches the key may see, or * for all; may be repeated.")
    ],
    data_dir: DataOption = Path("var"),
    config: ConfigOption = None,
    person: Annotated[bool, typer.Option("--person", help="The holder is a person: only persons review.")] = False,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Valid for so many days; absent: until revoked.")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            help="The person's id in the plant, the same for all their keys: only with it they sign releases."
        ),
    ] = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    with _records(data_dir, config) as admin:
        _print(admin.add_key(name, role=role, sites=site, person=person, days=days, subject=subject))


@keys.command("list")
def keys_list(data_dir: DataOption = Path("var"), config: ConfigOption = None) -> None:
    """All keys, without their secrets, which are stored nowhere."""
    with _records(data_dir, config) as admin:
        _print(admin.list_keys())


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="As 'keys list' shows it.")],
    why: Annotated[str, typer.Option(help="Goes into the audit trail.")],
    data_dir: DataOption = Path("var"),
    config: ConfigOption = None,
) -> None:
    """Revoke a key; it is refused within a second."""
    with _records(data_dir, config) as admin:
        _print(admin.revoke_key(key_id, why))


@audit.command("verify")
def audit_verify(data_dir: DataOption = Path("var"), config: ConfigOption = None) -> None:
    """Compare the records with the audit trail, and the trail with its anchor; exit code 1 where something differs."""
    with _records(data_dir, config, only_reads=True) as admin:
        found = admin.verify()
    for line in found.problems:
        typer.echo(line, err=True)
    _print(found.notes)
    typer.echo(f"{found.n_entries} entries, {found.n_records} records, {len(found.problems)} problems")
    if found.problems:
        raise typer.Exit(1)


@audit.command("export")
def audit_export(data_dir: DataOption = Path("var"), config: ConfigOption = None) -> None:
    """The whole trail, one JSON object a line."""
    with _records(data_dir, config, only_reads=True) as admin:
        _print(admin.export())


@audit.command("accept")
def audit_accept(
    why: Annotated[str, typer.Option(help="Goes into the audit trail.")],
    data_dir: DataOption = Path("var"),
    config: ConfigOption = None,
) -> None:
    """Begin the anchor anew, after a backup was restored or the anchor was lost; stop the endpoint first."""
    with _records(data_dir, config) as admin:
        _print(admin.accept(why))


@records.command("reviews")
def records_reviews(
    deviation: DeviationOption = None, data_dir: DataOption = Path("var"), config: ConfigOption = None
) -> None:
    """Reviews, the newest first: of one deviation, or all."""
    with _records(data_dir, config, only_reads=True) as admin:
        _print(admin.reviews(deviation))


@records.command("releases")
def records_releases(
    deviation: DeviationOption = None, data_dir: DataOption = Path("var"), config: ConfigOption = None
) -> None:
    """Actions on releases, the newest first: of one deviation, or all."""
    with _records(data_dir, config, only_reads=True) as admin:
        _print(admin.releases(deviation))


@records.command("export")
def records_export(
    out_path: Annotated[Path, typer.Option("--out", help="New or empty folder to write into.")],
    deviation: DeviationOption = None,
    form: Annotated[
        ExportForm, typer.Option("--format", help="CSV tables, or a BatchML file for each batch.")
    ] = ExportForm.csv,
    data_dir: DataOption = Path("var"),
    config: ConfigOption = None,
) -> None:
    """Write reviews, findings and actions on releases as files for other systems: of one deviation, or all."""
    with _records(data_dir, config, only_reads=True) as admin:
        _print(admin.export_records(out_path, deviation, form.value))


def replay(score_id: str, process: Path, data_dir: Path) -> None:
    """Compute a stored score again and compare it bit by bit.

    Raises:
        BatchguardError: There is no such score, its model is gone, or it differs.
    """
    from pipelines.bundle_export import bundles_of
    from pipelines.plant import Plant

    settings = Settings(process, Path(), data_dir)
    process_id = Plant(settings).process.id
    with _records(data_dir) as admin:
        is_equal, line = admin.replay(score_id, bundles_of(settings, process_id).root, process_id)
    if not is_equal:
        raise BatchguardError(line, remedy="The stored score counts; find out what changed: 'batchguard audit verify'.")
    typer.echo(line)


def _records(data_dir: Path, config: Path | None = None, *, only_reads: bool = False) -> RecordsAdmin:
    from serving.commands import RecordsAdmin

    return RecordsAdmin(data_dir, config, only_reads=only_reads)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
