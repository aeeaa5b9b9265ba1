from models.cohort.encode import fit_encoder
from models.cohort.table import training_table


def test_a_batch_that_was_stopped_early_weighs_no_more_at_its_first_checkpoint_than_any_other(plant):
    stopped = plant.snapshots["batch_id"].eq("B003") & plant.snapshots["checkpoint_h"].gt(0)
    usable = plant.snapshots[~stopped]
    rows = training_table(usable, fit_encoder(usable)).rows
    first = rows[rows["checkpoint_h"] == 0]
    assert first["weight"].unique().tolist() == [1 / 3]
    assert rows.groupby("batch_id")["weight"].sum().max() == 1.0
