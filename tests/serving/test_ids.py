import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.ids import iso, microseconds, new_id


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
