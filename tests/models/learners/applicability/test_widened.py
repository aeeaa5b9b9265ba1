from dataclasses import replace

import numpy as np
import pytest

from models.learners.applicability.bands import Limits
from tests.models.learners.applicability.line import SITE, check_all, learn, make_rows

ROWS = make_rows(120)
DOMAIN = learn(ROWS)


def test_every_limit_grows_by_the_width_of_its_check_and_those_of_the_range_together() -> None:
    limits = Limits(40, outside=2, excess=3, shift=4, age=5, distance=6, neighbours=7, stale=1)
    found = limits.widened({"range": 2.0, "age": 1.5, "distance": 3.0})
    assert found == Limits(40, outside=4, excess=6, shift=8, age=7.5, distance=18, neighbours=7, stale=1)


def test_a_limit_that_nothing_was_measured_for_stays_infinite() -> None:
    assert Limits(0).widened({"distance": 2.0, "stale": 3.0}) == Limits(0)


def test_widths_of_one_change_no_finding_and_no_ratio() -> None:
    odd = ROWS.assign(**{"ph.since_start.last": ROWS["ph.since_start.last"] * 1.5})
    same = DOMAIN.widened([{}] * len(DOMAIN.bands))
    before, after = (check_all(domain, odd, ROWS) for domain in (DOMAIN, same))
    assert [[f.check for f in d.findings] for d in after] == [[f.check for f in d.findings] for d in before]
    assert [d.ratios for d in after] == [d.ratios for d in before]


def test_ratios_shrink_by_the_width_of_their_band_and_of_no_other() -> None:
    odd = ROWS.assign(**{"ph.since_start.last": ROWS["ph.since_start.last"] * 1.5}).iloc[[0, 120, 240]]  # one a band
    widths = [{"distance": 2.0, "missing": 3.0}, {}, {"range": 4.0}]
    missing = {"missing": ("ph", "co2")}
    before, after = (check_all(domain, odd, ROWS, **missing) for domain in (DOMAIN, DOMAIN.widened(widths)))
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        for name, ratio in old.ratios.items():
            assert new.ratios[name] == pytest.approx(ratio / widths[number].get(name, 1.0)), (number, name)


def test_a_limit_of_nothing_grows_from_what_counts_at_all() -> None:
    band = DOMAIN.bands[0]
    none = replace(band, limits=Limits(40, outside=0, excess=0, shift=0, age=0, distance=0, neighbours=0, stale=0))
    domain = replace(DOMAIN, bands=(none, *DOMAIN.bands[1:]))
    row = ROWS.iloc[[0]]
    (before,) = check_all(domain, row, ROWS)
    assert before.ratios["distance"] > 1
    widths = [{name: max(1.0, ratio) for name, ratio in before.ratios.items()}, {}, {}]
    (after,) = check_all(domain.widened(widths), row, ROWS)
    assert max(after.ratios.values()) <= 1 + 1e-9


def test_widened_limits_survive_json() -> None:
    wider = DOMAIN.widened([{"range": 1.25}, {"missing": 2.0}, {}])
    assert type(wider).from_json(wider.to_json()).to_json() == wider.to_json() != DOMAIN.to_json()


def test_only_times_after_the_last_checkpoint_of_a_band_lie_between_two() -> None:
    hours = np.array([-1.0, 0.0, 0.5, 11.9, 12.0, 12.5, 24.0, 99.0])
    assert DOMAIN.between_bands(hours).tolist() == [False, False, True, True, False, True, False, False]


def test_subgroups_with_fewer_batches_than_needed_are_few() -> None:
    domain = replace(
        DOMAIN, min_batches=20, support={SITE: {"A": 19, "B": 20}, "product.before_start.value": {"p": 80}}
    )
    assert domain.few() == {SITE: frozenset({"A"}), "product.before_start.value": frozenset()}
