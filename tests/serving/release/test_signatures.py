import pytest

from serving.release.signatures import one_person


@pytest.mark.parametrize("other", ["Anna", "anna\u200b", "\uff41nna", "ANNA", "anna "])
def test_spellings_that_a_reader_takes_for_the_same_are_one_person(other) -> None:
    assert one_person("anna", other)


def test_other_names_are_other_persons() -> None:
    assert not one_person("anna", "anne")
