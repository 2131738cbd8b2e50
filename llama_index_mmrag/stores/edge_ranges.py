"""Ranges, counts and areas: Qdrant's JSON in the engine's words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import qdrant_edge as qe

Json = dict[str, Any]


def is_of_dates(bounds: Json) -> bool:
    """Return whether a range is one of dates: texts in ISO 8601, or Python's."""
    return any(isinstance(bound, str | date) for bound in bounds.values())


def _range(bounds: Json) -> qe.RangeFloat | qe.RangeDateTime:
    if not is_of_dates(bounds):
        return qe.RangeFloat(**bounds)
    iso = {
        name: bound if isinstance(bound, str) else bound.isoformat()
        for name, bound in bounds.items()
    }
    return qe.RangeDateTime(**iso)


def _box(corners: Json) -> qe.GeoBoundingBox:
    return qe.GeoBoundingBox(
        **{corner: qe.GeoPoint(**point) for corner, point in corners.items()}
    )


def _radius(area: Json) -> qe.GeoRadius:
    return qe.GeoRadius(qe.GeoPoint(**area["center"]), area["radius"])


def _polygon(area: Json) -> qe.GeoPolygon:
    def line(ring: Json) -> list[qe.GeoPoint]:
        return [qe.GeoPoint(**point) for point in ring["points"]]

    return qe.GeoPolygon(
        line(area["exterior"]), [*map(line, area.get("interiors", ()))]
    )


RANGES: dict[str, Callable[[Json], Any]] = {
    "range": _range,
    "values_count": lambda bounds: qe.ValuesCount(**bounds),
    "geo_bounding_box": _box,
    "geo_radius": _radius,
    "geo_polygon": _polygon,
}
"""By the name of a part of a field's condition: what makes it."""
