import pytest

from serving.release.states import ACTIONS, MOVES, STATES, ReleaseError, moved

ALLOWED = {
    ("submit", "draft"): "tested", ("approve", "tested"): "approved", ("reject", "tested"): "draft",
    ("reject", "approved"): "draft", ("make_effective", "approved"): "effective", ("retire", "effective"): "retired",
    ("rollback", "effective"): "retired", ("restore", "retired"): "effective",
}  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", STATES)
def test_an_action_leads_from_a_state_to_the_one_of_the_table_or_is_refused_in_one_line(action, state) -> None:
    if (action, state) in ALLOWED:
        assert moved(action, state, "release 1") == ALLOWED[action, state]
        return
    with pytest.raises(ReleaseError) as refused:
        moved(action, state, "cart version 3")
    assert str(refused.value).startswith(f"cart version 3 is {state}: it cannot be ")
    assert "\n" not in str(refused.value)


def test_every_action_has_a_move() -> None:
    assert set(MOVES) == set(ACTIONS)
