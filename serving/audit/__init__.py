"""Who did what: the audit trail, its anchor, and copies of records for people."""
