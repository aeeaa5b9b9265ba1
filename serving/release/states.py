"""States of a release and the moves between them: every other move is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from features.errors import BatchguardError

State = Literal["draft", "tested", "approved", "effective", "retired"]
Action = Literal["submit", "approve", "reject", "make_effective", "retire", "rollback", "restore"]

STATES: tuple[State, ...] = get_args(State)
ACTIONS: tuple[Action, ...] = get_args(Action)
OPEN: tuple[State, ...] = ("tested", "approved", "effective")  # a version has at most one release in these states


class ReleaseError(BatchguardError):
    """A step of a release that is refused; nothing was stored."""


@dataclass(frozen=True)
class Move:
    """The states that an action starts from, and the state that it leads to."""

    start: tuple[State, ...]
    end: State


MOVES: Mapping[Action, Move] = {
    "submit": Move(("draft",), "tested"),
    "approve": Move(("tested",), "approved"),
    "reject": Move(("tested", "approved"), "draft"),
    "make_effective": Move(("approved",), "effective"),
    "retire": Move(("effective",), "retired"),  # by `make_effective` of another release, never by a person
    "rollback": Move(("effective",), "retired"),
    "restore": Move(("retired",), "effective"),  # by `rollback` of its successor, never by a person
}


def moved(action: Action, state: State, what: str) -> State:
    """The state after an action.

    Args:
        action: The action.
        state: The state before it.
        what: Names the release in the error.

    Raises:
        ReleaseError: The action does not start from this state.
    """
    move = MOVES[action]
    if state not in move.start:
        raise ReleaseError(
            f"{what} is {state}: it cannot be {_PAST[action]}",
            expected=" or ".join(move.start),
            remedy="'batchguard release status' shows the state of every release.",
        )
    return move.end


_PAST: Mapping[Action, str] = {
    "submit": "submitted", "approve": "approved", "reject": "rejected", "make_effective": "made effective",
    "retire": "retired", "rollback": "rolled back", "restore": "restored",
}  # fmt: skip
