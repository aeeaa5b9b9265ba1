import inspect
from datetime import datetime

import pytest
import typer
from typer.testing import CliRunner

from features.errors import SourceError
from pipelines.simulate_command import simulate_command
from pipelines.simulator import SimulationSettings
from pipelines.simulator.reveal import reveal

app = typer.Typer()
app.command()(simulate_command)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_simulate_writes_and_prints_what_simulated_results_are_worth(tmp_path) -> None:
    output = run(
        "--batches", "5", "--in-progress", "2", "--sensor-interval-min", "60", "--out", str(tmp_path / "plant")
    )
    assert "5 batches with a disposition" in output
    assert "2 in progress" in output
    assert "do not validate a model" in output
    assert (tmp_path / "plant/history/observations.parquet").is_file()


def test_the_defaults_are_those_of_the_settings() -> None:
    options = {name: p.default for name, p in inspect.signature(simulate_command).parameters.items()}
    s = SimulationSettings()
    assert (options["batches"], options["in_progress"], options["seed"]) == (s.n_batches, s.n_in_progress, s.seed)
    assert (options["sites"], options["sensor_interval_min"]) == (s.n_sites, s.sensor_interval_min)
    assert (options["process_change"], options["base_rate"]) == (s.process_change, s.base_rate)
    assert datetime.fromisoformat(options["until"]) == s.until


def test_reveal_prints_mode_onset_and_what_would_have_been(report) -> None:
    lines = reveal(report.out, all_batches=True)
    assert any(" M" in line and "without it" in line for line in lines)
    assert "do not validate a model" in lines[-1]
    assert run("--out", str(report.out), "--reveal").splitlines() == reveal(report.out)


def test_reveal_without_a_truth_file_is_an_error_with_its_remedy(tmp_path) -> None:
    with pytest.raises(SourceError, match=r"no truth file\. Name the folder"):
        reveal(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--until", "soon"), "--until 'soon' is not a time"),
        (("--mode-rate", "M4"), "--mode-rate 'M4'; expected MODE=FACTOR"),
        (("--mode-rate", "M99=1"), "unknown mode 'M99'"),
        (("--batches", "-5"), "number of batches -5"),
        (("--reveal", "--live"), "--reveal and --live together"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, arguments, line) -> None:
    with pytest.raises(SourceError, match=line.replace("(", r"\(")):
        run("--out", str(tmp_path / "x"), *arguments)
    assert not (tmp_path / "x").exists()
