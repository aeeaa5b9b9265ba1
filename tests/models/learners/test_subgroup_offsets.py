import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.cohort.encode import Encoder
from models.learners.subgroup_offsets import SubgroupOffsets, fit_offsets, subgroup_features, subgroup_names

SITE, PRODUCT = "site.before_start.value", "product.before_start.value"
ENCODER = Encoder(
    ("line.before_start.value", PRODUCT, SITE, "x.now.value"),
    {"line.before_start.value": ("u", "v"), PRODUCT: ("p",), SITE: ("east", "north", "west")},
)


def fit(failures: dict[str, tuple[int, int]], *, few: set[str], stated: float = 0.2) -> dict[str, float]:
    """Offsets of sites given as (batches, failed), all stated alike with weight 1."""
    names = np.concatenate([np.repeat(name, n) for name, (n, _) in failures.items()])
    failed = np.concatenate([np.arange(n) < k for n, k in failures.values()])
    found, _ = fit_offsets({SITE: names}, np.full(len(names), stated), failed, np.ones(len(names)), few={SITE: few})
    return found.offsets.get(SITE, {})


def test_the_offset_of_a_small_subgroup_is_its_excess_shrunk_worked_by_hand() -> None:
    # excess: 12 - 0.2 * 20 = 8 and 0 - 0.2 * 10 = -2; information 0.16 a batch: 3.2 and 1.6
    # between = (64 - 3.2 + 4 - 1.6) / (3.2² + 1.6²) = 63.2 / 12.8 = 4.9375
    # small: between / (between + 1 / 1.6) * -2 / 1.6
    found = fit({"large": (20, 12), "small": (10, 0)}, few={"small"})
    assert found == {"small": pytest.approx(4.9375 / (4.9375 + 0.625) * -1.25)}


def test_only_subgroups_with_few_batches_have_an_offset() -> None:
    sites = {"large": (20, 12), "small": (10, 0)}
    assert set(fit(sites, few={"small", "large"})) == {"small", "large"}
    assert fit(sites, few=set()) == {}
    assert fit(sites, few={"elsewhere"}) == {}


def test_where_subgroups_do_not_differ_none_has_an_offset() -> None:
    assert fit({"a": (20, 4), "b": (10, 2)}, few={"a", "b"}) == {}
    assert fit({"a": (20, 5), "b": (10, 1)}, few={"a", "b"}) == {}  # within chance


def test_one_subgroup_alone_cannot_differ() -> None:
    assert fit({"a": (20, 12)}, few={"a"}) == {}
    assert fit({"a": (20, 12), "": (20, 0)}, few={"a", ""}) == {}  # "" names none


def test_a_batch_of_its_own_never_moves_what_is_said_without_it() -> None:
    names = np.array(["a"] * 12 + ["b"] * 12 + ["c"])
    failed = np.arange(25) < 10
    weight, stated = np.linspace(0.5, 1, 25), np.full(25, 0.3)
    few = {SITE: {"a", "b", "c"}}
    offsets, without = fit_offsets({SITE: names}, stated, failed, weight, few=few)
    assert set(offsets.offsets[SITE]) == {"a", "b", "c"}
    assert without[24] == 0.0  # the only batch of its site
    assert without[0] < offsets.offsets[SITE]["a"]  # it failed
    assert without[11] > offsets.offsets[SITE]["a"]


def test_two_features_each_have_their_own_offsets_and_add_up() -> None:
    site, product = np.repeat(["a", "b"], 20), np.tile(["p", "q"], 20)
    failed = (site == "a") & (product == "p")
    offsets, without = fit_offsets(
        {SITE: site, PRODUCT: product}, np.full(40, 0.25), failed, np.ones(40), few={SITE: {"a", "b"}, PRODUCT: {"p"}}
    )
    assert set(offsets.offsets) == {SITE, PRODUCT}
    assert set(offsets.offsets[PRODUCT]) == {"p"}
    assert offsets.offsets[SITE]["a"] > 0 > offsets.offsets[SITE]["b"]
    assert without[site == "b"].max() < without[(site == "a") & (product == "p")].min()


@given(
    hnp.arrays(np.int64, st.shared(st.integers(1, 60), key="n"), elements=st.integers(0, 4)),
    hnp.arrays(bool, st.shared(st.integers(1, 60), key="n")),
    hnp.arrays(float, st.shared(st.integers(1, 60), key="n"), elements=st.floats(0.001, 0.999)),
    hnp.arrays(float, st.shared(st.integers(1, 60), key="n"), elements=st.floats(0.01, 1)),
)
def test_offsets_are_finite_nearer_to_nothing_than_the_excess_and_of_its_sign(groups, failed, stated, weight) -> None:
    names = np.array(["", "a", "b", "c", "d"])[groups]
    few = {SITE: {"a", "b", "c"}}
    offsets, without = fit_offsets({SITE: names}, stated, failed, weight, few=few)
    assert np.isfinite(without).all()
    assert not without[~np.isin(names, ["a", "b", "c"])].any()
    for name, value in offsets.offsets.get(SITE, {}).items():
        own = names == name
        excess = (weight * (failed - stated))[own].sum() / (weight * stated * (1 - stated))[own].sum()
        assert name in few[SITE]
        assert abs(value) <= abs(excess) + 1e-12
        assert value * excess >= 0


def test_encoded_rows_get_the_offsets_of_their_names() -> None:
    X = np.array([[0, 0, 0, 1.5], [1, np.nan, 2, 0], [0, 0, np.nan, 0]])
    found = SubgroupOffsets({SITE: {"east": 0.5, "west": -0.25}, PRODUCT: {"p": 2.0}})
    places, offsets = found.of(X, ENCODER)
    assert [ENCODER.columns[place] for place in places] == [PRODUCT, SITE]
    np.testing.assert_array_equal(offsets, [[2.0, 0.5], [0.0, -0.25], [2.0, 0.0]])
    places, offsets = SubgroupOffsets().of(X, ENCODER)
    assert (places.shape, offsets.shape) == ((0,), (3, 0))


def test_rows_are_named_by_their_subgroups_and_by_nothing_else() -> None:
    assert subgroup_features(ENCODER) == [PRODUCT, SITE]
    names = subgroup_names(np.array([[0, 0, 2, 1.5], [1, np.nan, 0, 0]]), ENCODER)
    assert {name: list(values) for name, values in names.items()} == {PRODUCT: ["p", ""], SITE: ["west", "east"]}
    assert subgroup_names(np.empty((2, 0)), Encoder((), {})) == {}


def test_offsets_survive_json() -> None:
    found = SubgroupOffsets({SITE: {"east": 0.5}})
    assert SubgroupOffsets.from_json(found.to_json()) == found
    assert SubgroupOffsets.from_json({}) == SubgroupOffsets()
