"""The one scorer: rows of features to scores, for bulk scoring, the sealed test and the endpoint."""
