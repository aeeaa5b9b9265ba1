from datetime import UTC, datetime

import pytest

from features.errors import SourceError
from pipelines.simulator.settings import SimulationSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"n_batches": -1}, "number of batches -1; expected 0 or more"),
        ({"n_in_progress": -3}, "number of batches in progress -3; expected 0 or more"),
        ({"n_batches": 0, "n_in_progress": 0}, "no batches at all; expected at least one"),
        ({"seed": -1}, "seed -1; expected 0 or more"),
        ({"n_sites": 0}, "number of sites 0; expected 1 to 20"),
        ({"sensor_interval_min": 0.0}, "sensor interval of 0 min; expected 1 to 60"),
        ({"process_change": "some"}, "process change 'some'; expected none | comparable | not_comparable"),
        ({"mode_rates": {"M13": 1.0}}, "unknown mode 'M13'; expected M1 | M2"),
        ({"mode_rates": {"M1": -1.0}}, "rate factor -1 of mode M1; expected 0 to 20"),
        ({"base_rate": 0.9}, "base rate 0.9; expected 0.02 to 0.3"),
        ({"scales_l": (2.0,)}, "scale 2 L; expected 0.25, 1, 5, 50"),
        ({"until": datetime(2026, 1, 1)}, "until 2026-01-01T00:00:00 has no offset"),  # noqa: DTZ001
        (
            {"since": NOW, "until": datetime(2025, 1, 1, tzinfo=UTC)},
            "from 2026-01-01 to 2025-01-01; expected at least 90 days",
        ),
    ],
)
def test_a_wrong_setting_is_one_clear_line(wrong, line) -> None:
    with pytest.raises(SourceError) as caught:
        SimulationSettings(**wrong)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_survive_json(small) -> None:
    assert SimulationSettings.from_json(small.to_json()) == small
