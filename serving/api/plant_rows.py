"""Routes for rows that belong to no single batch: results of material lots, samples of rooms."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.api import requests, responses
from serving.api.guard import PERMISSION, GuardedRoute
from serving.api.replies import Key, call_for, rows_answers, rows_told, service_of
from serving.service.plant_rows import add_plant_rows

router = APIRouter(prefix="/v1", route_class=GuardedRoute)
_ANSWERS = rows_answers(responses.PlantRowsTaken)
_MAY = {PERMISSION: "write_plant"}


@router.post("/lot-results", response_model=responses.PlantRowsTaken, openapi_extra=_MAY, responses=_ANSWERS)
def add_lot_results(request: Request, wanted: requests.LotResults, key: Key = None) -> Response:
    """Take in results of material lots; they count for every batch that used the lot, from when they were available.

    A key of some sites tells results of lots that batches of its sites used, and of no others.
    """
    return rows_told(request, add_plant_rows(service_of(request), call_for(request, key), "lot_results", wanted.rows()))


@router.post("/environment", response_model=responses.PlantRowsTaken, openapi_extra=_MAY, responses=_ANSWERS)
def add_environment(request: Request, wanted: requests.Environment, key: Key = None) -> Response:
    """Take in samples of rooms; they count for the batches of their site, from when they were available."""
    return rows_told(request, add_plant_rows(service_of(request), call_for(request, key), "environment", wanted.rows()))
