import pandas as pd

from models.cohort.encode import fit_encoder
from models.cohort.table import end_of_batches, training_table
from tests.models.plant import labels, make_process, utc


def test_a_batch_that_was_stopped_early_weighs_no_more_at_its_first_checkpoint_than_any_other(plant) -> None:
    stopped = plant.snapshots["batch_id"].eq("B003") & plant.snapshots["checkpoint_h"].gt(0)
    usable = plant.snapshots[~stopped]
    rows = training_table(usable, fit_encoder(usable)).rows
    first = rows[rows["checkpoint_h"] == 0]
    assert first["weight"].unique().tolist() == [1 / 3]
    assert rows.groupby("batch_id")["weight"].sum().max() == 1.0


def test_a_batch_ends_as_planned_or_when_its_first_label_was_known_before() -> None:
    start = utc("2026-01-01")
    batches = pd.DataFrame({"batch_id": list("ABCD"), "started_at": start})
    log = labels(
        ("A", True, "2026-01-01 12:00"),  # terminated
        ("A", False, "2026-03-01 00:00", False, 1),  # a correction does not make it last longer
        ("B", False, "2026-01-20 00:00"),
        ("C", False, "2026-01-02 00:00"),  # known at the very end
    )
    ends = end_of_batches(batches, log, make_process()).set_index("batch_id")["end_at"]
    assert ends.tolist() == [utc("2026-01-01 12:00"), *[utc("2026-01-02 00:00")] * 3]


def test_a_batchs_own_planned_end_counts_before_the_recipes() -> None:
    start = utc("2026-01-01")
    planned = pd.to_datetime(["2026-01-05", None], utc=True).astype("datetime64[us, UTC]")
    batches = pd.DataFrame({"batch_id": list("AB"), "started_at": start, "planned_end_at": planned})
    ends = end_of_batches(batches, labels(), make_process()).set_index("batch_id")["end_at"]
    assert ends.tolist() == [utc("2026-01-05"), utc("2026-01-02 00:00")]
