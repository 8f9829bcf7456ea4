"""What a metric is called, and showing one that was counted or looked up elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

_KINDS: Final = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as Prometheus shows it.

    Attributes
    ----------
    name : str
        Whole, with unit and, for a counter, ``_total``.
    kind : str
        counter, gauge or histogram.
    labels : tuple of str
    help : str
        One sentence for a person.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def described(families: Iterable[Family]) -> Iterator[Metric]:
    """Name what a collector will show, for scrapers that ask for some of it."""
    for family in families:
        yield _KINDS[family.kind](family.name, family.help, labels=family.labels)


def gauge(family: Family, value: float, *labels: str) -> Metric:
    """Show one number."""
    return gauges(family, [(labels, value)])


def gauges(family: Family, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """Show a number for each set of labels."""
    shown = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in values:
        shown.add_metric(labels, value)
    return shown


def counter(family: Family, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """Show a count for each set of labels."""
    shown = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in values:
        shown.add_metric(labels, value)
    return shown


def program_version() -> str:
    """Return the version that ``build_info`` shows."""
    try:
        return version("lungwatch")
    except PackageNotFoundError:
        return "unknown"
