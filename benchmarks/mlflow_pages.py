"""Pictures of MLflow's pages as a reviewer sees them: a champion, a challenger trained later, and the server's own UI.

The demo's plant is trained twice: on the first part of its history, whose version two demo persons release, and on all of it.
Needs a Chromium and the group `bench` (Playwright). Nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from benchmarks.serving.process import free_port
from models.registry import CHALLENGER, Registry

CHROMIUM = (
    "--no-sandbox", "--disable-background-networking", "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
WIDE, HIGH, WAIT_MS = 1440, 1000, 60_000


def earlier(history: Path, out: Path, share: float) -> None:
    """The history as it stood when a share of its batches had started."""
    out.mkdir(parents=True, exist_ok=True)
    batches = pd.read_parquet(history / "batches.parquet")
    moment = batches["started_at"].sort_values().iloc[int(share * len(batches))]
    kept = batches[batches["started_at"] < moment]
    for path in sorted(history.glob("*.parquet")):
        frame = kept if path.stem == "batches" else pd.read_parquet(path)
        if "batch_id" in frame:
            frame = frame[frame["batch_id"].isin(kept["batch_id"])]
        for name in ("available_at", "decided_at", "observed_at", "recorded_at"):
            if name in frame:
                frame = frame[frame[name] < moment]
        frame.to_parquet(out / path.name, index=False)


def train(process: str, history: Path, data_dir: Path, *more: str) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "run", "--process", process, "--history", str(history)]
    subprocess.run([*command, "--data-dir", str(data_dir), "--as-of", "history", *more], check=True)


@contextmanager
def served(registry: Registry) -> Generator[str]:
    """Address of MLflow's server over a registry."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", registry.tracking_uri, "--default-artifact-root", registry.artifacts.as_uri()]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
    process = subprocess.Popen(command, env=os.environ | quiet)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def photograph(registry: Registry, name: str, chromium: str, out: Path) -> None:
    """The card of the challenger, its comparison with the version before, and its curves."""
    from playwright.sync_api import sync_playwright

    model = registry.by_alias(name, CHALLENGER)
    assert model is not None
    first = registry.by_version(name, "1")
    runs = f"?runs=[%22{first.run_id}%22,%22{model.run_id}%22]&experiments=[%22{model.experiment_id}%22]"
    pages = {
        "mlflow_card": (model.version_page, "Who must sign"),
        "mlflow_comparison": (f"/#/compare-runs{runs}", "Run details"),
        "mlflow_curves": (f"{model.page}/model-metrics", "called_high_failed"),
    }
    with served(registry) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM))
        for file, (place, text) in pages.items():
            page = browser.new_page(viewport={"width": WIDE, "height": HIGH})
            page.goto(f"{address}{place}")
            found = page.get_by_text(text).first
            found.wait_for(timeout=WAIT_MS)
            for button in page.get_by_role("button", name="Close").all():
                button.click()  # MLflow's assistant beside the page
            if file == "mlflow_comparison":
                for part in ("Visualizations", "Run details", "Parameters"):  # closed: the figures follow
                    page.get_by_text(part, exact=True).first.click()
            page.wait_for_timeout(5000)  # charts are drawn after their data arrive
            page.screenshot(path=str(out / f"{file}.png"))
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--process", default="cart")
    parser.add_argument("--history", type=Path, default=Path("var/demo/plant/history"))
    parser.add_argument("--data-dir", type=Path, default=Path("var/mlflow-pages"))
    parser.add_argument("--share", type=float, default=0.7, help="of the batches that the champion learns from")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    given = parser.parse_args()
    registry = Registry(given.data_dir)
    made = len(registry.versions(given.process))
    if made < 1:
        early = given.data_dir / "earlier"
        earlier(given.history, early, given.share)
        train(given.process, early, given.data_dir, "--release-as-demo")
    if made < 2:
        train(given.process, given.history, given.data_dir)
    photograph(registry, given.process, given.chromium, given.out)


if __name__ == "__main__":
    main()
