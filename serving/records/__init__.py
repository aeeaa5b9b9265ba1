"""What the endpoint keeps: rows, scores, reviews, keys, the audit trail. A record is never changed or removed."""
