"""Which batches train and which test: forward in time, subjects never on both sides, the newest quarter sealed.

A split at random mixes batches of one campaign, lot or patient over both sides and reads far too well on drifting
processes. Here a row trains only if its label was known before the validation block began.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from features.errors import TrainingError
from models.cohort.labels import labels_as_of
from models.cohort.ledger import append, lines_of


@dataclass(frozen=True)
class Seal:
    """The sealed test set: decided by time alone, before a feature or a label was looked at.

    Attributes:
        process_id: Process it belongs to.
        cut: Start of its first batch; nothing known later may train.
        batch_ids: Its batches, in order of start.
        sha256: Digest over process, cut and batch ids: what the ledger records.
        learnt: Whether the model has learnt from these batches after they had tested the versions before it; they started
            before the cut then.
    """

    process_id: str
    cut: pd.Timestamp
    batch_ids: tuple[str, ...]
    sha256: str
    learnt: bool = False

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        text = json.dumps(asdict(self) | {"cut": self.cut.isoformat(), "batch_ids": list(self.batch_ids)}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Seal:
        """Read it back.

        Raises:
            TrainingError: The file was changed since it was sealed.
        """
        data = json.loads(path.read_text(encoding="utf-8"))
        seal = seal_of(data["process_id"], pd.to_datetime(data["cut"]), tuple(data["batch_ids"]))
        if seal.sha256 != data["sha256"]:
            raise TrainingError(f"{path}: the sealed test set was changed", remedy="Restore the file from the store.")
        return replace(seal, learnt=data.get("learnt", False))


def seal_test(
    batches: pd.DataFrame, log: pd.DataFrame, *, process_id: str, share: float = 0.25, failures: int | None = None
) -> Seal:
    """Seal the newest share of the dispositioned, uncensored batches, or the fewest newest ones with some failures.

    Batches that started at the very moment of the cut all go to the test, so that no id decides.

    Args:
        batches: `batch_id`, `started_at`.
        log: `features.contracts.LABELS`.
        process_id: Process it belongs to.
        share: Share of the batches, above 0 and below 1.
        failures: Failures that the test must hold, instead of a share.

    Raises:
        TrainingError: Fewer than four batches have an outcome.
    """
    labels = labels_as_of(log)
    started = in_order_of_start(batches, labels.index[~labels["censored"]])
    if len(started) < 4:
        raise TrainingError(
            f"{process_id}: {len(started)} batches have an outcome",
            expected="at least 4",
            remedy="Add dispositions (or results for the label rule) to the run history.",
        )
    cut = started.iloc[int(len(started) * (1 - share))]
    if failures is not None:
        failed = started[labels["failed"].reindex(started.index).to_numpy(bool)]
        cut = failed.iloc[-min(failures, len(failed))] if len(failed) else cut
    return seal_of(process_id, cut, tuple(started.index[started >= cut]))


def nothing_sealed(process_id: str, cut: pd.Timestamp) -> Seal:
    """For a model that learns from all that was known before a moment: what tests it has not started yet."""
    return seal_of(process_id, cut, ())


def subject_groups(batches: pd.DataFrame) -> pd.DataFrame:
    """Pairs `batch_id`, `group` of patients or donors; batches without one belong to none."""
    named = batches[batches["subject_key"] != ""]
    return pd.DataFrame({"batch_id": named["batch_id"], "group": "subject:" + named["subject_key"]})


def struck_lot_groups(materials: pd.DataFrame, log: pd.DataFrame, *, min_failures: int = 2) -> pd.DataFrame:
    """Pairs `batch_id`, `group` of lots behind several failures, to keep such a lot on one side of each split.

    Args:
        materials: `features.contracts.MATERIALS`.
        log: `features.contracts.LABELS`.
        min_failures: How many failed batches make a lot a struck one.
    """
    labels = labels_as_of(log)
    group = "lot:" + materials["material"] + ":" + materials["lot_id"]
    failed = materials["batch_id"].map(labels["failed"]).fillna(False).astype(bool)
    struck = failed.groupby(group).sum() >= min_failures
    pairs = pd.DataFrame({"batch_id": materials["batch_id"], "group": group})
    return pairs[pairs["group"].isin(struck.index[struck])].drop_duplicates()


def known_before(
    batches: pd.DataFrame, log: pd.DataFrame, cut: pd.Timestamp, *, away_from: tuple[str, ...], groups: pd.DataFrame
) -> pd.Series:
    """Batches that may train before a cut, with the label as it was known then.

    Args:
        batches: `batch_id`, `started_at`.
        log: `features.contracts.LABELS`.
        cut: Only labels available before it count.
        away_from: Batches on the other side: their groups are left out, as they are themselves.
        groups: Pairs `batch_id`, `group`.

    Returns:
        `failed` indexed by batch_id, ordered by start; censored batches are left out.
    """
    labels = labels_as_of(log[log["label_available_at"] < cut])
    labels = labels[~labels["censored"]]
    theirs = groups.loc[groups["batch_id"].isin(away_from), "group"]
    shared = groups.loc[groups["group"].isin(theirs), "batch_id"]
    started = in_order_of_start(batches, labels.index.difference(pd.Index([*away_from, *shared], dtype="str")))
    return labels["failed"].reindex(started.index[started < cut])


def enough_failures(failed: pd.Series, *, at_least: int, where: str) -> None:
    """Refuse to train on too little.

    Raises:
        TrainingError: No batches, no failures, fewer than `at_least`, or nothing but failures.
    """
    n, n_failed = len(failed), int(failed.sum())
    if n == 0:
        raise TrainingError(
            f"{where}: no batch has an outcome that was known before the test began",
            expected=f"at least {at_least} batches of each outcome before it",
            remedy="Give 'batchguard run' a longer --history, or test by earlier scores ([policy] test = \"prequential\").",
        )
    if n_failed == 0:
        raise TrainingError(
            f"{where}: none of {n} batches failed",
            expected=f"at least {at_least} failures",
            remedy="Check [outcome] of the process definition, or give 'batchguard run' a longer --history.",
        )
    if n_failed < at_least or n - n_failed < at_least:
        rare = "failed" if n_failed < at_least else "succeeded"
        count = min(n_failed, n - n_failed)
        raise TrainingError(
            f"{where}: only {count} of {n} batches {rare}",
            expected=f"at least {at_least} of each class",
            remedy="Give 'batchguard run' a longer --history: a predictor from so few cases would be guesswork.",
        )


def readings(ledger: Path) -> set[str]:
    """Digests of the test sets that were read before."""
    return {line["test_sha256"] for line in lines_of(ledger)}


def record_reading(ledger: Path, seal: Seal, *, reader: str, purpose: str, at: pd.Timestamp) -> None:
    """Append to the ledger, one JSON object a line, who read which test set when; nothing in it is ever rewritten."""
    append(ledger, {"at": at.isoformat(), "reader": reader, "purpose": purpose, "test_sha256": seal.sha256})


def seal_of(process_id: str, cut: pd.Timestamp, batch_ids: tuple[str, ...]) -> Seal:
    """A seal of given batches, with its digest."""
    text = json.dumps([process_id, cut.isoformat(), list(batch_ids)])
    return Seal(process_id, cut, batch_ids, hashlib.sha256(text.encode()).hexdigest())


def in_order_of_start(batches: pd.DataFrame, ids: pd.Index) -> pd.Series:
    """`started_at` of the given batches in order of start, then id."""
    rows = batches.loc[batches["batch_id"].isin(ids), ["batch_id", "started_at"]]
    return rows.sort_values(["started_at", "batch_id"]).set_index("batch_id")["started_at"]
