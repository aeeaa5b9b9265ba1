import pytest

from features.context import Vocabulary, vocabulary
from features.errors import ContractError
from tests.features.context.plant import PROCESS, tables


def test_an_empty_history_still_has_the_phases_of_the_recipe() -> None:
    assert vocabulary({}, PROCESS) == Vocabulary(phases=("grow", "wash"))


def test_names_are_sorted_and_phases_of_the_recipe_come_first() -> None:
    history = tables(
        batches=[{"batch_id": "b", "started_at": 0, "donor_age": 3.0}],
        materials=[{"batch_id": "b", "material": m, "lot_id": "L"} for m in ("z", "a")],
        events=[
            {"batch_id": "b", "kind": kind, "code": code, "started_at": 0}
            for kind, code in (("phase", "aging"), ("phase", "wash"), ("handover", ""), ("alarm", "x"))
        ],
        lot_results=[
            {"lot_id": "L", "material": m, "parameter": p, "observed_at": 0, "value": 1.0}
            for m, p in (("z", "titre"), ("z", "secret"), ("unused", "titre"), ("a", "unheard_of"))
        ],
        environment=[{"site_id": "s", "metric": "air", "grade": g, "observed_at": 0, "value": 1} for g in ("D", "A")],
    )
    assert vocabulary(history, PROCESS) == Vocabulary(
        attributes=("donor_age",),
        materials=("a", "z"),
        lot_tests=(("titre", "z"),),
        metrics=(("air", "A"), ("air", "D")),
        event_kinds=("alarm", "handover"),
        phases=("grow", "wash", "aging"),
    )


def test_two_names_that_a_feature_cannot_tell_apart_are_refused() -> None:
    history = tables(materials=[{"batch_id": "b", "material": m, "lot_id": "L"} for m in ("Api 1", "api-1")])
    with pytest.raises(ContractError, match="material 'api-1' and 'Api 1' would have the same feature names"):
        vocabulary(history, PROCESS)
