import numpy as np
import pandas as pd
import pytest

from features.errors import ContractError
from models.cohort.encode import Encoder, fit_encoder


def frame(**columns: list) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    head = {
        "batch_id": pd.array([f"B{i}" for i in range(n)], dtype="str"),
        "checkpoint_h": 0.0,
        "started_at": 0,
        "as_of": 0,
    }
    return pd.DataFrame(
        {**head, **{k: pd.array(v, dtype="str") if isinstance(v[0], str) else v for k, v in columns.items()}}
    )


def test_constant_and_empty_columns_are_left_out_and_the_rest_is_sorted() -> None:
    encoder = fit_encoder(frame(z=[1.0, 2.0], a=[np.nan, np.nan], c=[5.0, 5.0], d=[5.0, np.nan], k=["x", "y"]))
    assert encoder == Encoder(("k", "z"), {"k": ("x", "y")})


def test_categories_become_integers_and_unknown_ones_become_nan() -> None:
    encoder = Encoder(("k", "z"), {"k": ("x", "y")})
    X = encoder.encode(frame(z=[1.0, np.nan, 3.0], k=["y", "new", "x"]))
    np.testing.assert_array_equal(X, [[1.0, 1.0], [np.nan, np.nan], [0.0, 3.0]])


def test_columns_are_taken_by_name_whatever_their_order() -> None:
    encoder = Encoder(("a", "b"), {})
    rows = frame(b=[2.0], a=[1.0], other=[9.0])
    np.testing.assert_array_equal(encoder.encode(rows), [[1.0, 2.0]])


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(ContractError, match="lack the feature 'b'"):
        Encoder(("a", "b"), {}).encode(frame(a=[1.0]))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_is_refused_with_its_batch_and_feature(value) -> None:
    with pytest.raises(ContractError, match="batch B1: feature 'a' is infinite"):
        Encoder(("a",), {}).encode(frame(a=[1.0, value]))


def test_numbers_where_categories_were_are_refused() -> None:
    with pytest.raises(ContractError, match="feature 'k' has type float64; expected categories"):
        Encoder(("k",), {"k": ("x",)}).encode(frame(k=[1.0]))


def test_it_comes_back_from_json_and_refuses_another_version() -> None:
    encoder = Encoder(("a", "k"), {"k": ("x", "y")})
    assert Encoder.from_json(encoder.to_json()) == encoder
    with pytest.raises(ContractError, match="encoder version 2"):
        Encoder.from_json(encoder.to_json() | {"version": 2})
