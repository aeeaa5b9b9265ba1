"""Parts of a predictor read and written: the files in `stored` were written by version 0.1.0, before forms were derived."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from features.errors import ContractError
from models.cohort.encode import Encoder
from models.folder import as_json
from models.learners.applicability.model import Applicability
from models.learners.blend import Blend
from models.learners.calibrate import Calibration
from models.learners.conformal import Conformal
from models.learners.evidence import Evidence
from models.learners.sensors import SensorChecks
from models.persistence import Floats, Persistent, Upper

STORED = Path(__file__).parent / "stored"
PARTS = (Blend, Calibration, Conformal, Encoder, Evidence, SensorChecks)


@dataclass(frozen=True)
class Nested:
    limit: Upper
    share: float


@dataclass(frozen=True, eq=False)
class Part(Persistent):
    values: Floats
    nested: tuple[Nested, ...]


@pytest.mark.parametrize("kind", PARTS)
def test_what_0_1_0_stored_is_read_and_written_again_with_the_same_bytes(kind: type[Persistent]) -> None:
    stored = (STORED / f"{kind.__name__.lower()}.json").read_bytes()
    more = {"encoder": Encoder.from_json(json.loads((STORED / "encoder.json").read_bytes()))}
    data = json.loads(stored) | (more if kind is Evidence else {})
    assert as_json(kind.from_json(data).to_json()) == stored


def test_what_0_1_0_stored_of_failed_batches_beyond_the_limits_is_read_and_left_out() -> None:
    """Until version 2 of a score a domain also held how far failed batches had strayed (`reach`)."""
    stored = json.loads((STORED / "applicability.json").read_bytes())
    again = Applicability.from_json(stored).to_json()
    for band in stored["bands"]:
        del band["reach"]
    assert as_json(again) == as_json(stored)


def test_unknown_values_and_open_limits_are_null_in_between() -> None:
    part = Part(np.array([[1.0, np.nan]]), (Nested(np.inf, 0.5),))
    assert part.to_json() == {"values": [[1.0, None]], "nested": [{"limit": None, "share": 0.5}]}
    again = Part.from_json(part.to_json())
    np.testing.assert_array_equal(again.values, part.values)
    assert again.nested == part.nested


@pytest.mark.parametrize("share", [np.nan, np.inf])
def test_a_number_that_has_to_be_finite_is_not_stored_as_null(share: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        as_json(Part(np.zeros(1), (Nested(1.0, share),)).to_json())


def test_another_form_is_refused_with_the_place_where_it_differs() -> None:
    data = {"values": [1.0], "nested": [{"limit": 1.0, "share": "half"}]}
    with pytest.raises(ContractError, match=r"stored part nested\.0\.share half"):
        Part.from_json(data)
