"""Where tables are kept: Parquet files under a Delta Lake log, one folder per table."""

from pipelines.storage.store import Commit, Staged, Store
from pipelines.storage.verify import Problem

__all__ = ["Commit", "Problem", "Staged", "Store"]
