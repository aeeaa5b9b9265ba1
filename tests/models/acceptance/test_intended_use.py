from pathlib import Path

import pytest

from features.errors import ProcessError
from models.acceptance.intended_use import load_intended_use
from tests.models.plant import make_process

TEXT = """
process = "soup"
question = "Will this batch fail its release?"
product = "Soup"
process_versions = ["1"]
sites = ["any"]
decision_points_h = [12]
users = ["shift lead: looks at the batch"]
limits = ["changes no status of a batch"]

[input_ranges]
force_kn = [4, nan]
"""


def written(tmp_path, text: str) -> Path:
    path = tmp_path / "soup.intended_use.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_intended_use_is_read_with_open_limits(tmp_path) -> None:
    use = load_intended_use(written(tmp_path, TEXT))
    assert use.input_ranges == {"force_kn": (4.0, None)}
    use.check(make_process())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('process = "soup"', 'process = "stew"', "the intended use is of process 'stew'; expected soup"),
        ('process_versions = ["1"]', 'process_versions = ["2"]', "is for versions 2; expected version 1"),
        ("force_kn", "force", "input range of 'force'"),
        ("decision_points_h = [12]", "decision_points_h = [240]", "decision point at 240 h; expected 0 to 24 h"),
    ],
)
def test_an_intended_use_of_something_else_is_refused(tmp_path, old, new, said) -> None:
    use = load_intended_use(written(tmp_path, TEXT.replace(old, new)))
    with pytest.raises(ProcessError, match=said):
        use.check(make_process())


def test_a_missing_or_unknown_key_is_one_line(tmp_path) -> None:
    with pytest.raises(ProcessError, match="limits: "):
        load_intended_use(written(tmp_path, TEXT.replace("limits = ", "limit = ")))
    with pytest.raises(ProcessError, match="users: "):
        load_intended_use(written(tmp_path, TEXT.replace('["shift lead: looks at the batch"]', "[]")))
