"""Why a probability is what it is, what changed, and what can still be done: fixed templates, the model's numbers."""
