"""Why the endpoint refuses a request, beyond access and outages."""

from __future__ import annotations

from features.errors import BatchguardError


class NotThereError(BatchguardError):
    """There is no such batch or score at the principal's sites."""


class ConflictError(BatchguardError):
    """The request contradicts the records."""


class ModelGoneError(BatchguardError):
    """The model of a score is not here any more, or needs other feature code."""


class TooManyError(BatchguardError):
    """Too many requests at once."""


class RefusedError(BatchguardError):
    """The content cannot be true: a time in the future, a batch that breaks the contract."""
