from models.explain.modes import top_mode


def test_the_likeliest_mode_is_said_with_its_probability() -> None:
    found = top_mode({"low_dose": 0.61, "low_viability": 0.2})
    assert (found.mode, found.probability, found.sentence) == ("low_dose", 0.61, "Most like: low dose (61 %)")


def test_modes_with_too_few_cases_are_named_with_their_number() -> None:
    found = top_mode({"low_dose": 0.61}, not_enough_cases={"sterility": 3, "purity": 7})
    assert found.sentence == "Most like: low dose (61 %); not enough cases: purity (7), sterility (3)"
    assert top_mode({}, not_enough_cases={"sterility": 3}).sentence == "Not enough cases: sterility (3)"


def test_of_two_alike_the_first_by_name_is_taken_and_of_none_none() -> None:
    assert top_mode({"b": 0.5, "a": 0.5}).mode == "a"
    nothing = top_mode({})
    assert (nothing.mode, nothing.probability, nothing.sentence) == ("", None, "")
