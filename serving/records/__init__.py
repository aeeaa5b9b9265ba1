"""The records of the endpoint: rows, scores, reviews, keys, the audit trail. A record is never changed or removed."""
