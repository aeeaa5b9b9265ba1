import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.ids import RisingClock, continue_after, iso, microseconds, new_id


@given(st.integers(0, 2**52))
def test_a_time_comes_back_to_the_microsecond(at_us) -> None:
    assert microseconds(iso(at_us)) == at_us


def test_an_offset_is_counted_and_a_missing_one_refused() -> None:
    assert microseconds("1970-01-01T01:00:00+01:00") == 0
    assert microseconds("1970-01-01T00:00:00.0000019Z") == 1
    with pytest.raises(ValueError):
        microseconds("1970-01-01T00:00:00")


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_the_calendar_of_utc_does_not_have_is_refused(text) -> None:
    with pytest.raises(ValueError):
        microseconds(text)


def test_ids_are_uuids_of_version_seven_that_sort_by_time() -> None:
    early, late = new_id(1_700_000_000_000_000), new_id(1_700_000_000_001_000)
    assert early < late
    assert {uuid.UUID(early).version, uuid.UUID(late).version} == {7}
    same = [new_id(0) for _ in range(1000)]
    assert same == sorted(set(same))


def test_ids_sort_in_the_order_in_which_they_are_made_though_the_clock_is_set_back_or_forth() -> None:
    hour_us, noon_us = 3_600_000_000, 1_900_000_000_000_000
    made = [new_id(noon_us + step * hour_us) for step in (0, -1, 1, 0, -24, 0, 2)]
    assert made == sorted(set(made))
    assert {uuid.UUID(i).version for i in made} == {7}
    assert {uuid.UUID(i).variant for i in made} == {uuid.RFC_4122}


def test_ids_of_a_process_sort_behind_those_of_an_earlier_one_whose_clock_was_ahead() -> None:
    ahead = str(uuid.UUID(int=3_000_000_000_000 << 80 | 0x7 << 76 | 0b10 << 62))
    continue_after(ahead)
    continue_after(None)
    assert new_id(1_700_000_000_000_000) > ahead


def test_an_id_whose_random_part_is_used_up_takes_the_next_millisecond() -> None:
    last = 3_100_000_000_000 << 80 | 0x7 << 76 | 0b10 << 62 | (1 << 62) - 1
    continue_after(str(uuid.UUID(int=last)))
    made = uuid.UUID(new_id(0))
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, 3_100_000_000_001)


def test_a_rising_clock_goes_on_from_the_latest_time_and_follows_the_machine_forward() -> None:
    wall, steady = 1000, 0
    clock = RisingClock(lambda: wall, lambda: steady)
    seen = [clock()]
    for wall, steady in ((1010, 10), (500, 20), (510, 30), (5000, 40), (4000, 50)):  # noqa: B007 - the lambdas read them
        seen.append(clock())
    assert seen == [1000, 1010, 1020, 1030, 5000, 5010]
