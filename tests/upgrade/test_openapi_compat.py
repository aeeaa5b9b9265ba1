"""A client written for the description of 0.1.0 goes on working; and the comparison sees where one would not."""

import pytest

from tests.upgrade.changed import BROKEN, COMPATIBLE, FORMER, Changed
from tests.upgrade.compat import problems
from tests.upgrade.current import description


def test_a_client_of_0_1_0_goes_on_working(tmp_path) -> None:
    assert problems(FORMER, description(tmp_path)) == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_client_is_reported(name) -> None:
    change, told = BROKEN[name]
    changed = Changed()
    change(changed)
    found = problems(FORMER, changed.whole)
    assert any(told in line for line in found), found


@pytest.mark.parametrize("name", COMPATIBLE)
def test_what_a_client_does_not_notice_is_not_reported(name) -> None:
    changed = Changed()
    COMPATIBLE[name](changed)
    assert problems(FORMER, changed.whole) == []


def test_the_description_of_0_1_0_is_the_whole_one() -> None:
    assert (len(FORMER["paths"]), sum(len(operations) for operations in FORMER["paths"].values())) == (22, 23)
