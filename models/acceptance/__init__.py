"""What a model is for, what it must meet, and why its features may count: files that are signed before the test is read."""
