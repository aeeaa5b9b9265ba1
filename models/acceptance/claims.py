"""What may be claimed of a model: never "validated" while a batch among its rows is simulated."""

from __future__ import annotations

import re

from features.errors import ContractError

_CLAIM = re.compile(r"\bvalidated\b|\bvalidation\b", re.IGNORECASE)


def refuse_validated(text: str, *, simulated: bool, where: str) -> None:
    """Refuse a text that calls a model validated on simulated data.

    Args:
        text: For example the meaning of a signature, or an intended use.
        simulated: Whether any batch of training or test was simulated.
        where: Names the text in the error.

    Raises:
        ContractError: The text says validated or validation.
    """
    found = _CLAIM.search(text) if simulated else None
    if found is not None:
        raise ContractError(
            f"{where} says {found[0]!r}, and batches of the training part or the test are simulated",
            expected="'verification on simulated data'",
            remedy="Simulated batches verify the software; they validate no model.",
        )
