import pytest
from pydantic import ValidationError

from features.errors import ProcessError
from features.process import ProcessDefinition
from models.policy import OUTCOMES, Policy, load_policy
from tests.models.plant import make_process


def process(**head: object) -> ProcessDefinition:
    """Without release attributes."""
    found = make_process().model_dump()
    found["process"] |= head
    return ProcessDefinition.model_validate(found | {"quality_attribute": []})


def test_without_a_word_every_25_outcomes_retrain_and_prequential_scores_test() -> None:
    policy = Policy()
    assert (policy.outcomes, policy.test, policy.follow_up) == (OUTCOMES, "prequential", "ignore")
    assert Policy(retrain_every_outcomes=7).outcomes == 7
    assert Policy(retrain_every_days=7).outcomes is None


def test_two_intervals_are_one_too_many() -> None:
    with pytest.raises(ValidationError, match="give retrain_every_outcomes or retrain_every_days, not both"):
        Policy(retrain_every_outcomes=5, retrain_every_days=5)


def test_only_prequential_scores_recalibrate_between_trainings() -> None:
    assert Policy().recalibrate_every_outcomes is None
    assert Policy(recalibrate_every_outcomes=10).recalibrate_every_outcomes == 10
    for test in ("newest_quarter", "newest_failures"):
        with pytest.raises(
            ValidationError, match=f"recalibrate_every_outcomes needs test = 'prequential', not '{test}'"
        ):
            Policy(recalibrate_every_outcomes=10, test=test)


def test_each_training_chooses_its_learner_unless_the_policy_names_one() -> None:
    assert Policy().plan(make_process()).learner == Policy().plan(process()).learner == "auto"
    for name in ("layers", "trees", "deviations"):
        assert Policy(learner=name).plan(process()).learner == name


def test_trees_alone_are_a_bag_of_five_and_of_one_in_each_fold() -> None:
    trees, layers = (Policy(learner=name).plan(make_process()) for name in ("trees", "layers"))
    assert (trees.members, trees.fold_members, trees.learner) == (5, 1, "trees")
    assert Policy().plan(process()).members == 5
    assert (layers.members, layers.fold_members, layers.learner) == (3, 3, "layers")


def test_nothing_alarms_at_the_start_unless_the_policy_says_when() -> None:
    hourly = process(bin_h=2)
    assert Policy().alarms_from_h(hourly) == 2  # bins of 2 h come before the first later checkpoint, at 12 h
    assert Policy().alarms_from_h(process(checkpoints_h=[0])) == 0
    assert Policy(alarm_from_h=0).alarms_from_h(hourly) == 0
    assert Policy(alarm_from_h=5).alarms_from_h(hourly) == 5


@pytest.mark.parametrize("head", ["", "[policy]\n"])
def test_a_file_may_have_the_table_or_its_keys_alone(tmp_path, head) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f'{head}learner = "trees"\napproval_delay_h = 12\n')
    assert load_policy(path) == Policy(learner="trees", approval_delay_h=12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("retrain_evry_days = 3\n", r"policy.toml: retrain_evry_days: .*expected keys of \[policy\]: learner, "),
        ('learner = "forest"\n', "policy.toml: learner: "),
        ("retrain_every_days = 1\nretrain_every_outcomes = 1\n", "policy.toml: policy: give retrain_every_outcomes or"),
        ("recalibrate_every_outcomes = 0\n", "policy.toml: recalibrate_every_outcomes: "),
        ("learner = \n", "policy.toml: not TOML: "),
    ],
)
def test_a_file_that_is_no_policy_is_one_line(tmp_path, text, said) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ProcessError, match=said) as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line_with_its_remedy(tmp_path) -> None:
    with pytest.raises(ProcessError, match=r"none.toml: No such file or directory. Name a TOML file that can be read"):
        load_policy(tmp_path / "none.toml")
