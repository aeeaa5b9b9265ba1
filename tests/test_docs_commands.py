"""Every command of README and docs runs as it is written: the pages in order, in a fresh folder, against a small plant."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pages import ROOT, blocks_of, faults_of, script_of
from tests.pipelines.small_plant import PROCESS, Place, history
from tests.pipelines.test_dev import free_port

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/tutorials/*.md"))]
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(set(ROOT.glob("docs/*/*.md")) - set(PAGES))]
SMALL = (
    "--batches 60 --in-progress 3 --base-rate 0.3 --sensor-interval-min 60 --sites 1 --seed 3 --since 2025-09-01T00:00Z"
)
LENIENT = """process = "cart"

[[criterion]]
metric = "alarm_share"
bound = 1.0
side = "at_most"
least_failures = 1
why = "a plant of 60 batches shows that the commands work, not what a model is worth"

[[feature]]
pattern = "*"
mechanism = "a plant of 60 batches: nothing is claimed of its features"
expected_sign = "either"
"""
SYSTEM = "/usr/local/bin:/usr/bin:/bin"
WITHIN_S = 1_500  # of a page; only a page that hangs takes so long


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_run_or_says_why_not(page) -> None:
    assert faults_of(page.read_text(encoding="utf-8")) == []


def checkout(folder: Path) -> None:
    """A fresh checkout: its files, criteria that a small plant meets, its environment as `make install` leaves it, no data."""
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name not in ("var", "history"):
            (folder / path.name).symlink_to(path)
    (folder / "processes").unlink()
    shutil.copytree(ROOT / "processes", folder / "processes")
    (folder / "processes" / "cart.acceptance.toml").write_text(LENIENT)
    environment = folder / ".venv"
    environment.mkdir()
    for path in Path(sys.prefix).iterdir():
        (environment / path.name).symlink_to(path)
    (environment / ".ready").unlink(missing_ok=True)
    (environment / ".ready").touch()


def own_data(folder: Path) -> Path:
    """A history folder as a reader would bring it, and an editor that finishes the draft of its definition."""
    place = Place(folder)
    place.write(history())
    place.process.rename(folder / "finished.toml")
    editor = folder / "editor.sh"
    editor.write_text(f'#!/bin/sh\ngrep -q "check:" "$1" && cp "{folder}/finished.toml" "$1"\n')
    editor.chmod(0o755)
    return editor


def ended(shell: subprocess.Popen) -> None:
    """End a shell and all that it started: in order, and after a while at once."""
    for number in [signal.SIGTERM] * 200 + [signal.SIGKILL] * 50:
        try:
            os.killpg(shell.pid, number)
        except ProcessLookupError:
            return
        shell.poll()
        time.sleep(0.1)
    raise AssertionError(f"processes of {shell.args} are left")


def run_page(text: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a page; whatever it leaves running is ended with it."""
    with (folder / "page.log").open("w+") as log:
        process = subprocess.Popen(
            ["bash", "-c", script_of(text, port=free_port())], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(WITHIN_S)
        finally:
            ended(process)
        log.seek(0)
        return subprocess.CompletedProcess(text, code, log.read())


@pytest.mark.slow
def test_every_command_runs_as_it_is_written(tmp_path) -> None:
    checkout(tmp_path)
    editor = own_data(tmp_path)
    environment = {
        "PATH": SYSTEM,
        "HOME": os.environ["HOME"],
        "LANG": "C.UTF-8",
        "EDITOR": str(editor),
        "SIMULATE": SMALL,
    }
    for page in PAGES:
        ran = run_page(page.read_text(encoding="utf-8"), tmp_path, environment)
        assert ran.returncode == 0, f"{page.name}: {ran.stdout[-3000:]}"
        if page.name == "README.md":
            assert (tmp_path / "mine.toml").read_text() == PROCESS
            assert re.search(r"^3 batches in progress as of 2025-06-01", ran.stdout, re.MULTILINE), ran.stdout[-3000:]
        if page.name == "serving.md":
            assert "the same to the bit" in ran.stdout
            assert re.search(r"^B-1: (LOW|ELEVATED|HIGH|NO CALL YET), risk", ran.stdout, re.MULTILINE)


PAGE = """\
Type `source .venv/bin/activate` once.

```sh
echo one
```

<!-- not run: nobody has this file -->
```sh
cat nowhere
```

```csv
batch_id,started_at
```

```sh background
sleep 1000 # 8080
```

```python
x = 2
```

```python
print(x + 1)
```
"""


def page_in(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    (folder / ".venv" / "bin" / "activate").write_text("echo activated\n")
    return run_page(text, folder, {"PATH": f"{Path(sys.executable).parent}:{SYSTEM}"})


def test_blocks_are_found_with_their_lines_and_reasons() -> None:
    blocks = blocks_of(PAGE)
    assert [(b.line, b.kind, b.is_run) for b in blocks] == [
        (4, "sh", True), (9, "sh", False), (13, "csv", False), (17, "sh background", True), (21, "python", True),
        (25, "python", True),
    ]  # fmt: skip
    assert blocks[1].why_not == "nobody has this file"


def test_a_page_runs_in_one_shell_and_ends_what_it_started(tmp_path) -> None:
    ran = page_in(tmp_path, PAGE)
    assert (ran.returncode, ran.stdout) == (0, "activated\none\n3\n")


def test_only_the_port_is_replaced() -> None:
    assert "sleep 1000 # 4242\n" in script_of(PAGE, port=4242)
    assert "18080" in script_of("```sh\necho 18080\n```\n", port=4242)


@pytest.mark.parametrize(
    "code", ["false", "true | false | true", "echo $MY_KEY", "python -c 'raise SystemExit(3)'", "curl -sf localhost:1"]
)
def test_a_command_that_fails_fails_its_page_with_its_line(tmp_path, code) -> None:
    ran = page_in(tmp_path, f"{PAGE}\n```sh\ntrue\n{code}\necho too far\n```\n")
    assert ran.returncode != 0
    assert "too far" not in ran.stdout
    assert "MY_KEY: unbound variable" in ran.stdout or "line 29: failed: " in ran.stdout


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```\nmake demo\n```\n", "no kind"),
        ("```console\n$ make demo\n```\n", "console"),
        ("<!-- not run: later -->\n```sh\nmake demo\n```\n", "no reason"),
        ("```text\nmake demo\n```\n", "a command in a block of text"),
        ("Type:\n\n    batchguard convert secom --from DIR\n", "indented"),
        ("```sh\nbatchguard verify\n```\n", "does not say"),
    ],
)
def test_a_command_cannot_hide_from_being_run(text, fault) -> None:
    assert any(fault in found for found in faults_of(text))
