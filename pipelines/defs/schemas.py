"""Contracts of tables as Dagster shows them: columns with type, meaning, unit and limits."""

from collections.abc import Iterable, Mapping

import dagster as dg
import pyarrow as pa

from features.contracts import Column, Table
from features.dictionary import Feature
from models.scoring import parquet
from models.scoring.score import Score
from pipelines.score_table import KEY

COLUMN_SCHEMA = "dagster/column_schema"  # the key under which the UI looks for it


def column_schema(
    table: Table, features: Iterable[Feature] = (), stored: pa.Schema | None = None
) -> Mapping[str, dg.TableSchema]:
    """Metadata of an asset that is one table.

    Args:
        table: Its contract.
        features: Feature columns that follow the columns of the contract.
        stored: The stored table's schema, for the types of the features.
    """
    schema = table_schema(table)
    more = [_feature(feature, stored.field(feature.name).type) for feature in features] if stored else []
    return {COLUMN_SCHEMA: dg.TableSchema([*schema.columns, *more], schema.constraints)}


def score_schema() -> Mapping[str, dg.TableSchema]:
    """Metadata of `risk_scores`, from the declaration of the score record."""
    columns = [
        dg.TableColumn(
            field.name,
            str(field.type),
            description=Score.model_fields[field.name].description,
            constraints=dg.TableColumnConstraints(
                nullable=field.nullable, other=list(map(_limit, Score.model_fields[field.name].metadata))
            ),
        )
        for field in parquet.schema()
    ]
    return {COLUMN_SCHEMA: dg.TableSchema(columns, dg.TableConstraints([f"unique: {', '.join(KEY)}"]))}


def _limit(constraint: object) -> str:
    """A limit of a field, `Ge(ge=0)`, as text."""
    signs = {"ge": ">=", "le": "<=", "gt": ">", "lt": "<", "min_length": "length >=", "max_length": "length <="}
    return ", ".join(f"{sign} {getattr(constraint, name)}" for name, sign in signs.items() if hasattr(constraint, name))


def table_schema(table: Table) -> dg.TableSchema:
    """A contract as a schema of Dagster."""
    rules = [f"unique: {', '.join(table.key)}"] + (
        ["further columns: attributes or features"] if table.attributes else []
    )
    alone = table.key[0] if len(table.key) == 1 else None
    return dg.TableSchema([_column(c, unique=c.name == alone) for c in table.columns], dg.TableConstraints(rules))


def _column(column: Column, *, unique: bool) -> dg.TableColumn:
    limits = [f">= {column.low:g}"] if column.low is not None else []
    limits += [f"<= {column.high:g}"] if column.high is not None else []
    limits += [f"one of: {', '.join(map(repr, column.allowed))}"] if column.allowed is not None else []
    return dg.TableColumn(
        column.name,
        str(column.arrow.type),
        description=_with_unit(column.meaning, column.unit),
        constraints=dg.TableColumnConstraints(nullable=column.arrow.nullable, unique=unique, other=limits),
    )


def _feature(feature: Feature, type_: pa.DataType) -> dg.TableColumn:
    return dg.TableColumn(feature.name, str(type_), description=_with_unit(feature.meaning, feature.unit))


def _with_unit(meaning: str, unit: str) -> str:
    return f"{meaning} [{unit}]" if unit else meaning
