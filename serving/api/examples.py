"""One example of every body and answer of the API, as it stands in its description."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
_SCORE_ID, _EARLIER_ID = "019c1a2e-6b00-7a31-9f5e-1c2d3e4f5a6b", "019c1a1c-2200-7c02-8a11-0b1c2d3e4f5a"
_SHA256, _REQUEST_ID = (
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "019c1a2e-6af0-7bd4-8c31-7e6f5a4b3c2d",
)

BATCH: Json = {
    "product_id": "cart-19", "site_id": "north", "process_version": "2", "started_at": "2026-01-30T07:30:00+01:00",
    "subject_key": "p-5f3a", "origin": "real", "attributes": {"apheresis_viability_pct": 96.5},
}  # fmt: skip
ROWS: Json = {
    "observations": [
        {"parameter": "glucose_mm", "observed_at": "2026-01-31T06:00:00+01:00", "value": 18.4, "unit": "mmol/L",
         "available_at": "2026-01-31T06:20:00+01:00"},
    ],
    "events": [{"kind": "phase", "code": "expansion", "started_at": "2026-01-31T05:00:00+01:00"}],
    "materials": [{"material": "vector", "lot_id": "V-118", "consumed_at": "2026-01-31T05:30:00+01:00"}],
}  # fmt: skip
LOT_RESULTS: Json = {
    "lot_results": [
        {"lot_id": "V-118", "material": "vector", "parameter": "vector_titre_tu_ml", "value": 2.1e8, "unit": "TU/mL",
         "observed_at": "2026-01-12T09:00:00+01:00", "available_at": "2026-01-15T14:30:00+01:00"},
    ],
}  # fmt: skip
ENVIRONMENT: Json = {
    "environment": [
        {"site_id": "north", "area_id": "suite-2", "metric": "viable_air_cfu_m3", "value": 1, "grade": "B",
         "observed_at": "2026-01-28T06:00:00+01:00", "available_at": "2026-01-31T10:00:00+01:00"},
    ],
}  # fmt: skip
INLINE: Json = {
    "batch": BATCH | {"batch_id": "B-2026-0117"}, **ROWS, **LOT_RESULTS, "as_of": "2026-01-31T08:00:00+01:00",
}  # fmt: skip
REVIEW_REQUEST: Json = {
    "decision": "act", "reason": "second sample ordered", "deviation": "DEV-2026-031", "meaning": "review",
    "signer": "user:anna",
}  # fmt: skip
TAKEN: Json = {"batch_id": "B-2026-0117", "verdict": "accepted", "revision": 0}
PLANT_ROWS_TAKEN: Json = {"accepted": 1, "duplicates": 0, "rejected": 0, "rejections": []}
ROWS_TAKEN: Json = {
    "batch_id": "B-2026-0117", "accepted": 2, "duplicates": 0, "rejected": 1,
    "rejections": [{"table": "observations", "index": 2, "code": "unit_mismatch",
                    "reason": "unit mg/dL; expected mmol/L. Send the value in the parameter's unit"}],
}  # fmt: skip
MODEL: Json = {
    "name": "cart", "version": "3", "sha256": _SHA256, "review": "released", "process_id": "cart",
    "process_sha256": _SHA256, "features_sha256": _SHA256, "thresholds_sha256": _SHA256, "intended_use_sha256": _SHA256,
    "release_id": _SHA256, "released_by": "two persons",
}  # fmt: skip
MODEL_NOW: Json = MODEL | {
    "stale_since_us": None, "stale_because": None,
    "thresholds": {"thresholds": {"high": 0.41, "elevated": 0.18, "cost": 0.02, "alarm_budget": 0.05, "watch_budget": 0.2}},
    "intended_use": {"question": "Will the batch in progress fail (rejected, terminated)?", "process_id": "cart"},
}  # fmt: skip
REVIEW: Json = {
    "review_id": "019c1a30-0000-7111-8222-333344445555", "score_id": _SCORE_ID, "decision": "act",
    "reason": "second sample ordered", "deviation": "DEV-2026-031", "reviewer": "user:anna", "score_sha256": _SHA256,
    "reviewed_at": "2026-01-31T07:12:00.000000Z", "request_id": _REQUEST_ID, "signer_name": "Anna Weiss",
    "meaning": "review", "signed_with": "id and login",
}  # fmt: skip
SCORE: Json = {
    "version": 2, "elapsed_h": 24.5, "failure_probability": 0.437, "base_probability": 0.062, "interval": [0.28, 0.61],
    "call": "high", "call_cause": None, "support": "limited", "support_causes": ["stale data"],
    "decision": "high", "cause": None, "possible": ["failed"], "modes": {"M6": 0.31},
    "likeliest_mode": {"mode": "M6", "probability": 0.31, "not_enough_cases": {"M9": 3},
                       "sentence": "Most like: M6 (31 %); not enough cases: M9 (3)"},
    "attributes": [], "sensors": [],
    "domain": [{"cause": "stale data", "check": "stale", "subjects": ["vcd_e6_ml"], "value": 1.0, "limit": 0.8, "ratio": 1.25,
                "sentence": "1 parameters have a newest value older than usual (limit 0.8), the oldest 31.5 h"}],
    "domain_ratios": {"range": 0.42, "missing": 0.33, "stale": 1.25},
    "reasons": [{"parameter": "glucose_mm", "label": "Glucose", "feature": "glucose_mm.since_start.last", "value": 2.1,
                 "unit": "mmol/L", "normal": [3.0, 25.0], "usual": [8.4, 12.6], "points": 21.4,
                 "stages": {"expansion": 21.4}, "newest": 2.1, "newest_at": "2026-01-31T05:00:00+00:00", "sensor": "",
                 "sentence": "Glucose, newest value: 2.1 mmol/L (normal 3 to 25, usual 8.4-12.6 at this hour), 2 h ago; +21.4"
                             " points"}],
    "changes": None, "what_if": None,
    "missing": ["cd25_pct"], "stale": {"vcd_e6_ml": 31.5}, "assays_pending": ["cd25_pct", "sterility_growth"],
    "data_sha256": _SHA256, "process_version": "2", "model": MODEL, "score_id": _SCORE_ID, "batch_id": "B-2026-0117",
    "site_id": "north", "as_of": "2026-01-31T07:00:00.000000Z", "scored_at": "2026-01-31T07:00:00.012000Z",
    "stale_model": None, "code_sha256": _SHA256, "rows_seq": 18422, "inline_sha256": None, "body_sha256": _SHA256,
    "supersedes": None, "request_id": _REQUEST_ID, "scored_for": "key:5f3a0c2b9d1e",
}  # fmt: skip
_NAMED: Json = {
    "score_id": _SCORE_ID, "batch_id": "B-2026-0117", "as_of": "2026-01-31T07:00:00.000000Z",
    "failure_probability": 0.437, "model_sha256": _SHA256,
}  # fmt: skip
CHANGES: Json = _NAMED | {
    "since": _NAMED | {"score_id": _EARLIER_ID, "as_of": "2026-01-31T01:00:00.000000Z", "failure_probability": 0.211},
    "changes": {
        "hours": 6.0, "before": 0.211, "probability": 0.437,
        "rows": [{"parameter": "glucose_mm", "label": "Glucose", "unit": "mmol/L", "points": 22.6, "value": 2.1,
                  "before": 6.0, "measured_at": "2026-01-31T06:00:00+00:00",
                  "sentence": "Glucose +22.6 points (newest 2.1 mmol/L, was 6)"}],
        "sentence": "Risk 21 % -> 44 % since 6 h ago: Glucose +22.6 points (newest 2.1 mmol/L, was 6)",
    },
}  # fmt: skip
WHAT_IF: Json = _NAMED | {
    "what_if": {
        "probability": 0.437, "threshold": 0.41, "horizon_h": 24.0,
        "changes": [{"moves": [{"parameter": "glucose_mm", "label": "Glucose", "unit": "mmol/L", "now": 2.1, "to": 4.0,
                                "share_of_normal": 0.086, "now_is": "below normal"}], "probability": 0.33}],
        "left_out": [{"parameter": "vcd_e6_ml", "label": "Viable cells", "why": "newest value older than 24 h"}],
        "sentence": "Glucose from 2.1 (below normal) to 4 mmol/L, held for 24 h: risk 44 % -> below 41 % (the model's view, not"
                    " a promise).",
    },
}  # fmt: skip
HISTORY: Json = {
    "score_id": _SCORE_ID,
    "entries": [{"seq": 20411, "at": "2026-01-31T07:00:00.012000Z", "who": "key:5f3a0c2b9d1e", "role": "mes",
                 "action": "score", "why": "", "old": None, "new": {"score_id": _SCORE_ID, "body_sha256": _SHA256},
                 "request_id": _REQUEST_ID, "previous": _SHA256, "hash": _SHA256}],
}  # fmt: skip
COPY = f"Risk score\n  score_id: {_SCORE_ID}\n  batch_id: B-2026-0117\n\nCall and support\n  call: high\n"
BATCH_PAGE: Json = {"batches": [BATCH | {"batch_id": "B-2026-0117", "revision": 0}], "next": None}
SCORE_PAGE: Json = {"scores": [SCORE], "next": None}
FOUND_REVIEW: Json = REVIEW | {"batch_id": "B-2026-0117", "site_id": "north"}
REVIEW_PAGE: Json = {"reviews": [FOUND_REVIEW], "next": None}
HEALTH: Json = {"status": "ok", "records": "ok", "model": "ok"}
PROBLEM: Json = {"type": "about:blank", "title": "Not found", "status": 404, "detail": "no batch 'B-2026-0118'",
                 "request_id": _REQUEST_ID}  # fmt: skip
INFERENCE_ERROR: Json = PROBLEM | {"error": "Not found: no batch 'B-2026-0118'"}
SERVER_METADATA: Json = {"name": "batchguard", "version": "0.2.0", "extensions": []}
MODEL_METADATA: Json = {
    "name": "cart", "versions": ["3"], "platform": "batchguard",
    "inputs": [{"name": "batch_id", "datatype": "BYTES", "shape": [-1]},
               {"name": "as_of", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [{"name": "failure_probability", "datatype": "FP64", "shape": [-1]},
                {"name": "score_id", "datatype": "BYTES", "shape": [-1]},
                {"name": "score", "datatype": "BYTES", "shape": [-1]}],
}  # fmt: skip
_INPUT: Json = {"name": "batch_id", "datatype": "BYTES", "shape": [1], "data": ["B-2026-0117"]}
INFERENCE: Json = {
    "id": "q-1", "inputs": [_INPUT], "outputs": [{"name": "failure_probability"}, {"name": "score_id"}],
}  # fmt: skip
INFERRED: Json = {
    "id": "q-1", "model_name": "cart", "model_version": "3",
    "outputs": [{"name": "failure_probability", "datatype": "FP64", "shape": [1], "data": [0.437]},
                {"name": "score_id", "datatype": "BYTES", "shape": [1], "data": [_SCORE_ID]}],
}  # fmt: skip
