"""What goes out: events behind an outbox, signed, as JSON or B2MML."""
