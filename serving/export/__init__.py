"""Records as files that other systems read: CSV tables, and BatchML of what belongs to a batch."""
