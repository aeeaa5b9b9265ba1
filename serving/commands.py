"""Commands of the endpoint: keys, audit, replay. They return lines for the command line to print."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import orjson

from features.errors import StorageError
from serving.access.keys import KeyRecord, add_key, list_keys, revoke_key
from serving.audit import chain, start, verification
from serving.audit.anchor import Anchor
from serving.audit.chain import Actor
from serving.ids import iso, new_id, now_us
from serving.model_releases import KEYS, ModelReleases
from serving.records.scores import find_reviews
from serving.records.store import Records, read_only_url
from serving.settings import EndpointSettings, load_settings


class RecordsAdmin:
    """Administration of the records by a person at the machine.

    Args:
        data_dir: As for `serve`.
        config: As for `serve`.
        only_reads: Records that cannot be written, as those of a backup, are read as they are; nothing is written beside them.
    """

    def __init__(self, data_dir: Path, config: Path | None = None, *, only_reads: bool = False) -> None:
        self._data_dir = data_dir
        self.settings: EndpointSettings = load_settings(data_dir, config)
        url = self.settings.records_url
        opened = read_only_url(url) if only_reads else url
        self.records = Records(opened)
        if opened == url:
            self.records.prepare()
        else:
            self.records.check_shape()

    def __enter__(self) -> RecordsAdmin:
        return self

    def __exit__(self, *_: object) -> None:
        self.records.close()

    def add_key(
        self, name: str, *, role: str, sites: Sequence[str], person: bool, days: int | None, subject: str | None = None
    ) -> Iterator[str]:
        """Make a key; the lines show it for the only time."""
        expires = None if days is None else now_us() + round(timedelta(days=days).total_seconds() * 1e6)
        key_id, key = add_key(self.records, name=name, kind="person" if person else "service", role=role, sites=sites,
                              expires_us=expires, actor=_operator(), subject=subject)  # fmt: skip
        contradiction = self.note()
        yield f"{key_id}: role {role}, sites {', '.join(sites)}; the key is shown this once:"
        yield key
        yield from filter(None, [contradiction])

    def list_keys(self) -> Iterator[str]:
        """One line a key."""
        for key in list_keys(self.records):
            sites = ", ".join(orjson.loads(key.sites))
            name = f"{key.name} ({key.subject})" if key.subject else key.name
            yield f"{key.key_id}  {key.kind:7}  {key.role:8}  {sites}  {name}  {_state(key)}"

    def revoke_key(self, key_id: str, why: str) -> Iterator[str]:
        """Make a key useless."""
        revoke_key(self.records, key_id, why=why, actor=_operator())
        yield f"{key_id} is revoked"
        yield from filter(None, [self.note()])

    def verify(self) -> verification.Verification:
        """Compare the records with the audit trail, and the trail with its anchor."""
        return verification.verify(self.records, self.settings.anchor, patience_s=3.0)

    def accept(self, why: str) -> Iterator[str]:
        """Begin the anchor anew after an older copy of the records was restored, or the anchor was lost."""
        yield start.accept(self.records, self.settings.anchor, _operator(), why, now_us())

    def export(self) -> Iterator[str]:
        """The audit trail, one JSON object a line."""
        with self.records.read() as connection:
            for entry in chain.entries(connection):
                yield orjson.dumps(entry.to_json()).decode()

    def reviews(self, deviation: str | None) -> Iterator[str]:
        """One line a review, the newest first: of one deviation, or all."""
        with self.records.read() as connection:
            found = find_reviews(connection, None, deviation=deviation, before=None, limit=None)
        for row in found:
            signed = f"{row['signer_name'] or 'no name kept'} ({row['reviewer']})"
            yield (
                f"{iso(row['reviewed_us'])}  {row['deviation'] or 'no deviation'}  {row['site_id']}/{row['batch_id']}  "
                f"score {row['score_id']}  {row['decision']} by {signed}: {row['reason']}"
            )

    def releases(self, deviation: str | None) -> Iterator[str]:
        """One line an action on a release, the newest first: of one deviation, or all."""
        from serving.export.tables import release_rows

        with self.records.read() as connection:
            found = list(release_rows(connection, deviation))
        for row in reversed(found):
            yield (
                f"{row['at']}  {row['deviation'] or 'no deviation'}  {row['process_id']} version {row['version']}  "
                f"{row['action']} to {row['state']} by {row['signer_name']} ({row['subject']}): {row['reason']}"
            )

    def export_records(self, folder: Path, deviation: str | None, form: str) -> Iterator[str]:
        """Write records as files into an empty folder: `csv`, a table each, or `b2mml`, a file for each batch with findings.

        Raises:
            StorageError: The folder holds something, or cannot be written.
        """
        from serving.export.batchml import write_batches
        from serving.export.csv_text import write_csv
        from serving.export.tables import tables

        empty_folder(folder)
        with self.records.read() as connection:
            if form == "b2mml":
                yield f"{folder}: {write_batches(connection, folder, deviation)} batches"
                return
            for table in tables(connection, deviation):
                path = folder / f"{table.name}.csv"
                yield f"{path}: {write_csv(table, path)} rows"

    def note(self) -> str | None:
        """Note the end of the trail, unless the anchor contradicts it: then a line that says so, as the endpoint's start does."""
        try:
            start.check(self.records, self.settings.anchor)
        except start.TrailContradictedError as error:
            return f"the audit trail is not noted: {error}"
        Anchor(self.settings.anchor).note(self.records.head(), now_us(), at_once=True)
        return None

    def replay(self, score_id: str, models: Path, process_id: str) -> tuple[bool, str]:
        """Make a score again.

        Args:
            score_id: The score.
            models: Folder of the bundles of its process.
            process_id: The process.

        Returns:
            Whether the two are equal to the bit, and a line with the result.
        """
        from serving.service.engine_cache import EngineCache, eviction
        from serving.service.score_requests import replay
        from serving.service.scoring_service import ScoringService

        policy = eviction(self.records, self.settings.forget_after_days)
        make = ModelReleases(models, self._data_dir / KEYS, self.records, process_id, policy).make
        service = ScoringService(self.records, make, EngineCache(self.records, make), Anchor(self.settings.anchor))
        found = replay(service, score_id)
        if found.is_equal:
            but = " but for the decision, which version 1 made by another rule" if found.by_another_rule else ""
            return True, f"{score_id}: the same to the bit{but}, probability {found.again['failure_probability']!r}"
        return False, f"{score_id}: differs in {', '.join(found.differing)}"


def empty_folder(folder: Path) -> None:
    """Make a folder, or take an empty one: an export mixes with nothing else.

    Raises:
        StorageError: It holds something, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holds = next(folder.iterdir(), None)
    except OSError as error:
        raise StorageError(f"{folder} cannot be used: {error.strerror}", remedy="Name another folder.") from None
    if holds is not None:
        raise StorageError(f"{folder} is not empty ({holds.name})", expected="a new or empty folder")


def _state(key: KeyRecord) -> str:
    if key.revoked_us is not None:
        return f"revoked {iso(key.revoked_us)}"
    if key.expires_us is None:
        return "valid"
    return ("expired " if key.expires_us <= now_us() else "valid until ") + iso(key.expires_us)


def _operator() -> Actor:
    """The user of the operating system."""
    return Actor(f"local:{getpass.getuser()}", "operator", f"cli-{new_id(now_us())}")
