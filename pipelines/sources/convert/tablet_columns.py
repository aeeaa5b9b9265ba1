"""Columns of the published tablet files and the parameters they become, by stage."""

from __future__ import annotations

LOT_TESTS: dict[str, tuple[str, ...]] = {
    "api": ("water", "total_impurities", "l_impurity", "content", "ps01", "ps05", "ps09"),
    "smcc": ("water", "td", "bd", "ps01", "ps05", "ps09"),
    "lactose": ("water", "sieve0045", "sieve015", "sieve025"),
    "starch": ("ph", "water"),
}
_TESTED = ("min_thickness", "max_thickness", "min_weight", "max_weight", "rsd_weight", "min_hardness", "max_hardness",
           "av_hardness", "max_diameter", "tensile")  # fmt: skip
CORE_TESTS = {f"tbl_{test}": f"tbl_{test}" for test in _TESTED}
COATED_TESTS = {f"fct_{test}": f"fct_{test}" for test in _TESTED if test not in ("min_weight", "max_weight")}
CORE_YIELD = {"tbl_yield": "tbl_yield_pct"}
YIELD = {"batch_yield": "batch_yield_pct"}
FINAL_TESTS = {
    "dissolution_av": "dissolution_av_pct",
    "dissolution_min": "dissolution_min_pct",
    "resodual_solvent": "residual_solvent_pct",  # spelled so in the publication
    "impurities_total": "impurities_total_pct",
    "impurity_o": "impurity_o_pct",
    "impurity_l": "impurity_l_pct",
}
COPIES = {  # of the final tests, in process.csv
    "Drug release average (%)": "dissolution_av",
    "Drug release min (%)": "dissolution_min",
    "Residual solvent": "resodual_solvent",
    "Total impurities": "impurities_total",
    "Impurity O": "impurity_o",
    "Impurity L": "impurity_l",
}
SUMMARIES = {column: column.lower().replace(" ", "_") for column in (
    "tbl_speed_mean", "tbl_speed_change", "tbl_speed_0_duration", "total_waste", "startup_waste", "fom_mean", "fom_change",
    "SREL_startup_mean", "SREL_production_mean", "SREL_production_max", "main_CompForce mean", "main_CompForce_sd",
    "main_CompForce_median", "pre_CompForce_mean", "tbl_fill_mean", "tbl_fill_sd", "cyl_height_mean", "stiffness_mean",
    "stiffness_max", "stiffness_min", "ejection_mean", "ejection_max", "ejection_min", "Startup_tbl_fill_maxDifference",
    "Startup_main_CompForce_mean", "Startup_tbl_fill_mean",
)}  # fmt: skip
SERIES = {column: f"press_{column.lower()}" for column in (
    "tbl_speed", "fom", "main_comp", "tbl_fill", "SREL", "pre_comp", "produced", "waste", "cyl_main", "cyl_pre", "stiffness",
    "ejection",
)}  # fmt: skip
