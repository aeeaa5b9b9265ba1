"""Reviews of scores, and what may be read: scores, batches, the audit trail of a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import structlog
from pydantic import JsonValue
from sqlalchemy import insert

from features.canonical import canonical
from serving.access.principals import ALL_SITES, AccessError, Principal
from serving.access.signing import Signature, SigningPausedError
from serving.audit import chain
from serving.ids import new_id
from serving.records import answers
from serving.records import scores as stored
from serving.records.answers import Answer, Call
from serving.records.rows import list_batches
from serving.records.scores import find_reviews, found_review_json, list_reviews, review_json, score_json
from serving.records.tables import reviews
from serving.service.scoring_service import ScoringService, visible_batch, visible_score

_log = structlog.get_logger("batchguard.reviewing")


@dataclass(frozen=True)
class ReviewDecision:
    """A person's decision on a score, its reason, and the id of a linked deviation record."""

    decision: str
    reason: str
    deviation: str | None = None


def review(
    service: ScoringService, call: Call, score_id: str, decision: ReviewDecision, sign: Callable[[], Signature]
) -> Answer:
    """Store a person's decision on a score, signed and bound to the score's digest.

    Args:
        service: Holds the records.
        call: The request.
        score_id: The score.
        decision: The decision.
        sign: Returns the person's signature or refuses it; a refusal is an entry of the audit trail.

    Raises:
        NotThereError: There is no such score at the principal's sites.
        AccessError: The signature was refused.
        RecordsUnavailableError: The review could not be stored.
    """
    return service.once(call, lambda: _review(service, call, score_id, decision, sign))


def score_with_reviews(service: ScoringService, principal: Principal, score_id: str) -> dict[str, JsonValue]:
    """A score with its reviews.

    Raises:
        NotThereError: There is no such score at the principal's sites.
    """
    with service.records.read() as connection:
        row = visible_score(connection, principal, score_id)
        return score_json(row) | {"reviews": [review_json(found) for found in list_reviews(connection, score_id)]}


def history_of(service: ScoringService, principal: Principal, score_id: str) -> list[chain.Entry]:
    """The audit trail of a score: made, reviewed, a signature refused.

    Raises:
        NotThereError: There is no such score at the principal's sites.
    """
    with service.records.read() as connection:
        visible_score(connection, principal, score_id)
        return chain.history(connection, f"score:{score_id}")


def scores_of(
    service: ScoringService, principal: Principal, batch_id: str, *, before: str | None, limit: int
) -> list[dict[str, JsonValue]]:
    """Scores of a batch, the newest made first, with ids below `before`.

    Raises:
        NotThereError: There is no such batch at the principal's sites.
    """
    with service.records.read() as connection:
        batch = visible_batch(connection, principal, batch_id)
        found = stored.list_scores(connection, batch_id, batch.site_id, before=before, limit=limit)
        return [score_json(row) for row in found]


def reviews_of(
    service: ScoringService, principal: Principal, *, deviation: str | None, before: str | None, limit: int
) -> list[dict[str, JsonValue]]:
    """Reviews of scores at the principal's sites, the newest first, with ids below `before`; of one deviation, or all."""
    sites = None if ALL_SITES in principal.sites else principal.sites
    with service.records.read() as connection:
        found = find_reviews(connection, sites, deviation=deviation, before=before, limit=limit)
    return [found_review_json(row) for row in found]


def batches_of(service: ScoringService, principal: Principal, *, after: str, limit: int) -> list[dict[str, object]]:
    """Batches of the principal's sites, by id, with ids above `after`."""
    sites = None if ALL_SITES in principal.sites else principal.sites
    with service.records.read() as connection:
        found = list_batches(connection, sites, after=after, limit=limit)
    return [dict(row.content) | {"revision": row.revision} for row in found]


def _review(
    service: ScoringService, call: Call, score_id: str, decision: ReviewDecision, sign: Callable[[], Signature]
) -> Answer:
    with service.records.read() as connection:
        visible_score(connection, call.principal, score_id)
    at_us, signed = service.clock(), _signed(service, call, score_id, sign)
    with service.records.write() as (connection, now):
        score = visible_score(connection, call.principal, score_id)
        row = {
            "review_id": new_id(at_us), "score_id": score_id, **asdict(decision), "reviewer": call.principal.id,
            "score_sha256": score["body_sha256"], "reviewed_us": at_us, "request_id": call.request_id,
            "signer_name": signed.name, "meaning": signed.meaning, "signed_with": signed.signed_with,
        }  # fmt: skip
        connection.execute(insert(reviews), row)
        new = chain.review_digest(row)
        chain.append(
            connection, now, call.actor, "review", f"score:{score_id}", at_us=at_us, new=new, why=decision.reason
        )
        answer = answers.keep(connection, call, Answer(201, canonical(review_json(row))), at_us)
    service.anchor.note(now, at_us)
    return answer


def _signed(service: ScoringService, call: Call, score_id: str, sign: Callable[[], Signature]) -> Signature:
    try:
        return sign()
    except SigningPausedError:
        raise  # the refusals before this one are in the audit trail
    except AccessError as error:
        _log.warning("signature refused", principal=call.principal.id, score=score_id, because=error.what)
        with service.records.write() as (connection, now):
            chain.append(connection, now, call.actor, "signature_refused", f"score:{score_id}", at_us=service.clock(),
                         why=error.what)  # fmt: skip
        raise
