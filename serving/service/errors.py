"""Why a request is not carried out, beyond access and outages."""

from __future__ import annotations

from features.errors import BatchguardError


class NotThereError(BatchguardError):
    """No such batch or score, as far as this principal can see."""


class ConflictError(BatchguardError):
    """It contradicts what is kept."""


class ModelGoneError(BatchguardError):
    """The model that made a score is not here any more, or not with the code that it spoke with."""


class TooManyError(BatchguardError):
    """More at once, or more often, than is answered."""


class RefusedError(BatchguardError):
    """It cannot be true: a time in the future, a batch that breaks the contract."""
