import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.tracing import Tracer

SOURCES = {
    "serving/door.py": """
import functools, store, tree
def come(thread):
    total = functools.reduce(lambda sum, _: sum + store.keep(), range(3), 0)  # over a library, three times
    list(store.several())
    worker = thread(target=tree.grow)
    worker.start()
    worker.join()
    return total
""",
    "serving/records/store.py": """
def keep():
    return inner()
def inner():
    return 1
def several():
    yield keep()
    yield keep()
""",
    "models/tree.py": """
def grow():
    import store
    store.keep()
""",
    "elsewhere/other.py": "",
}


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        monkeypatch.syspath_prepend(str(path.parent))
    door = importlib.import_module("door")

    yield door
    for name in ("door", "store", "tree"):
        sys.modules.pop(name, None)


def test_calls_into_another_directory_are_counted_over_libraries_and_in_other_threads(door, tmp_path) -> None:
    tracer = Tracer(tmp_path)
    with tracer.installed():
        door.come(threading.Thread)  # is not recorded
        with tracer.recording() as trace:
            door.come(threading.Thread)
    assert set(trace.files) == {"serving/door.py", "serving/records/store.py", "models/tree.py"}
    assert trace.changes == {("serving", "serving/records"): 4, ("models", "serving/records"): 1}
    assert trace.top_level == 1
    assert not trace.in_fastapi
    assert trace.files["serving/records/store.py"] == 13  # a generator that goes on is not called again
