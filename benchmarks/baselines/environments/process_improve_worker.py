"""process-improve's BatchPCA with its BatchMonitor; runs in its own environment.

Arguments: Parquet of the reference batches, Parquet of the batches to monitor (each `batch_id`, `step`, one column per
parameter, complete and of equal length), number of components, output (`batch_id`, `step`, `t2`, `spe` over limits).
"""

import sys
import warnings

import pandas as pd
from process_improve.batch import BatchMonitor, BatchPCA  # ty: ignore[import-not-found] - of its own environment


def batches_of(path: str) -> dict[str, pd.DataFrame]:
    table = pd.read_parquet(path)
    return {
        str(name): rows.drop(columns=["batch_id", "step"]).reset_index(drop=True)
        for name, rows in table.groupby("batch_id")
    }


def main() -> None:
    reference, wanted, components, out = sys.argv[1:]
    warnings.simplefilter("ignore")
    good = batches_of(reference)
    model = BatchPCA(n_components=int(components)).fit(good)
    monitor = BatchMonitor(model, spe_statistic="instantaneous").fit(good)
    found = []
    for name, rows in batches_of(wanted).items():
        seen = monitor.monitor(rows)
        t2, spe = seen.hotellings_t2 / seen.t2_limit, seen.spe / seen.spe_limit
        found.append(pd.DataFrame({"batch_id": name, "step": seen.time - 1, "t2": t2, "spe": spe}))
    pd.concat(found, ignore_index=True).to_parquet(out)


if __name__ == "__main__":
    main()
