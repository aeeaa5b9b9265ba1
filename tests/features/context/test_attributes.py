import pandas as pd

from features.context.attributes import Attributes
from features.context.columns import Batches, block
from features.context.vocabulary import vocabulary
from features.dictionary import Block
from tests.features.context.plant import PROCESS, snapshots, tables


def test_attributes_are_the_columns_of_the_process_definition_and_nothing_else() -> None:
    history = tables(batches=[
        {"batch_id": "b0", "started_at": 0, "donor_age": 61.0, "disease": "DLBCL", "initials": "XY", "shoe_size": 43,
         "product_id": "cart", "site_id": "north", "process_version": "2", "scale_l": 0.5},
        {"batch_id": "b1", "started_at": 5, "donor_age": None, "disease": None, "initials": "ZZ", "shoe_size": 41},
    ])  # fmt: skip
    rows = snapshots(history["batches"], ("b1", 0), ("b0", 50), ("b0", 0)).set_axis([7, 3, 5])
    made = attributes(rows, history)
    expected = pd.DataFrame(
        {
            "donor_age.before_start.value": [float("nan"), 61.0, 61.0],
            "disease.before_start.value": pd.Series([None, "DLBCL", "DLBCL"], dtype="str").to_numpy(),
            "product.before_start.value": ["unknown", "cart", "cart"],
            "site.before_start.value": ["unknown", "north", "north"],
            "process_version.before_start.value": ["1", "2", "2"],
            "scale_l.before_start.value": [float("nan"), 0.5, 0.5],
        },
        index=[7, 3, 5],
    )
    found, features = made.values, made.features
    pd.testing.assert_frame_equal(found, expected)
    assert found["disease.before_start.value"].dtype == "str"
    assert features[0].unit == "a"
    assert features[0].parameter == "donor_age"


def test_a_batch_that_the_history_lacks_has_no_attributes() -> None:
    history = tables(batches=[{"batch_id": "b0", "started_at": 0, "donor_age": 61.0, "disease": "DLBCL"}])
    rows = snapshots(history["batches"], ("b0", 0)).assign(batch_id="other")
    found = attributes(rows, history).values
    assert found.isna().all(axis=None)


def attributes(rows, history) -> Block:
    batches = Batches.of(history["batches"])
    return block(Attributes.of(batches, PROCESS, vocabulary(history, PROCESS)), rows, batches.index)
