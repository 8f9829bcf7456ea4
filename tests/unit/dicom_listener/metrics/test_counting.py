from __future__ import annotations

import ipaddress
import os
import timeit
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from core.peers import Peer
from core.settings import Settings
from core.spool import Entry, Spool, new_incarnation
from dicom_listener.metrics.collector import FAMILIES, PREFIX, ListenerCollector
from dicom_listener.metrics.counting import BUCKETS, OUTCOMES, SERVICES, Metrics, Outcome
from dicom_listener.rejections import Rejection
from dicom_listener.status import TABLES, StoreStatus
from tests.unit.dicom_listener.forks import Children

PACS = Peer("PACS", (ipaddress.ip_network("127.0.0.1"),))
STARTED = datetime(2026, 11, 23, tzinfo=UTC)
NOW = 2_000_000_000.0


def exposed(metrics: Metrics) -> str:
    registry = CollectorRegistry()
    registry.register(ListenerCollector(metrics, lambda: NOW))
    return generate_latest(registry).decode()


def samples(metrics: Metrics) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(exposed(metrics)) for sample in family.samples]


def value(metrics: Metrics, name: str, **labels: str) -> float:
    (found,) = [one.value for one in samples(metrics) if one.name == PREFIX + name and one.labels == labels]
    return found


@pytest.fixture
def spool(settings: Settings) -> Spool:
    spool = Spool(settings.data_dir, settings.listener_name)
    spool.new.mkdir(parents=True)
    spool.temporary.mkdir()
    return spool


@pytest.fixture
def metrics(settings: Settings) -> Metrics:
    metrics = Metrics(settings, STARTED)
    metrics.enter(0)
    return metrics


def entry(spool: Spool, incarnation: str, sequence: int, written: float) -> Path:
    path = spool.path(Entry(incarnation, sequence, "0" * 64))
    path.touch()
    os.utime(path, (written, written))
    return path


def test_what_is_shown_is_what_is_documented(metrics: Metrics, spool: Spool) -> None:
    del spool
    metrics.answered("C-STORE", 0, PACS, 0.1, 1)
    metrics.association(Outcome.ACCEPTED, PACS)
    suffixes = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
    expected = {
        (family.name + suffix, tuple(sorted({*family.labels, *(("le",) if suffix == "_bucket" else ())})))
        for family in FAMILIES
        for suffix in suffixes[family.kind]
    }
    assert {(one.name, tuple(sorted(one.labels))) for one in samples(metrics)} == expected


def test_an_answer_is_counted_by_status_peer_size_and_time(metrics: Metrics) -> None:
    metrics.answered("C-STORE", 0x0000, PACS, 0.3, 15_000_000)
    metrics.answered("C-STORE", 0xA700, None, 70.0, 1000)
    metrics.answered("C-STORE", 0x0000, PACS, 0.25, 5_000_000)
    assert value(metrics, "answers_total", service="C-STORE", status="0x0000", peer="PACS") == 2
    assert value(metrics, "answers_total", service="C-STORE", status="0xA700", peer="unknown") == 1
    assert value(metrics, "received_bytes_total", service="C-STORE", peer="PACS") == 20_000_000
    assert value(metrics, "acknowledge_seconds_count", service="C-STORE") == 3
    assert value(metrics, "acknowledge_seconds_sum", service="C-STORE") == pytest.approx(70.55)
    by_bound = {
        one.labels["le"]: one.value
        for one in samples(metrics)
        if one.name == f"{PREFIX}acknowledge_seconds_bucket" and one.labels["service"] == "C-STORE"
    }
    assert [float(bound) for bound in by_bound] == [*BUCKETS, float("inf")]
    # a bound is inclusive
    assert (by_bound["0.1"], by_bound["0.25"], by_bound["0.5"], by_bound["60.0"], by_bound["+Inf"]) == (0, 1, 2, 2, 3)


@pytest.mark.parametrize("outcome", [*Outcome, *Rejection])
def test_each_outcome_and_each_rejection_has_a_name(metrics: Metrics, outcome: Outcome | Rejection) -> None:
    metrics.association(outcome, PACS)
    assert value(metrics, "associations_total", outcome=outcome.name.lower(), peer="PACS") == 1


def test_every_status_of_ours_is_shown_before_it_happens(metrics: Metrics) -> None:
    expected = {(service, f"0x{status.code:04X}") for service, table in TABLES.items() for status in table}
    shown = {
        (one.labels["service"], one.labels["status"]): one.value
        for one in samples(metrics)
        if one.name == f"{PREFIX}answers_total"
    }
    assert shown == dict.fromkeys(expected, 0)


def test_what_is_in_no_table_has_a_place_too(metrics: Metrics) -> None:
    metrics.answered("forged\nservice", 0x1FFFF, None, 0.1, 0)
    assert value(metrics, "answers_total", service=SERVICES[-1], status="0xFFFF", peer="unknown") == 1


def test_open_and_waiting_rise_and_fall(metrics: Metrics) -> None:
    with metrics.open_association(PACS), metrics.open_association(None), metrics.open_association(PACS):
        assert value(metrics, "open_associations", peer="PACS") == 2
        assert value(metrics, "open_associations", peer="unknown") == 1
    assert value(metrics, "open_associations", peer="PACS") == 0
    metrics.waiting(5)
    metrics.waiting(3)
    assert value(metrics, "waiting_connections") == 3


def test_a_killed_process_keeps_its_counts_and_holds_nothing_open(settings: Settings, children: Children) -> None:
    metrics = Metrics(settings, STARTED)
    never_closed = ExitStack()

    def serve(process: int) -> None:
        metrics.enter(process)
        metrics.answered("C-STORE", 0, PACS, 0.1, 10)
        never_closed.enter_context(metrics.open_association(PACS))
        metrics.waiting(4)

    first, second = children.fork(lambda: serve(0)), children.fork(lambda: serve(1))
    assert metrics.healthy
    assert value(metrics, "open_associations", peer="PACS") == 2
    children.kill(first)
    metrics.gone(0)
    assert not metrics.healthy
    assert value(metrics, "processes") == 1
    assert value(metrics, "open_associations", peer="PACS") == 1
    assert value(metrics, "waiting_connections") == 4
    assert value(metrics, "answers_total", service="C-STORE", status="0x0000", peer="PACS") == 2
    again = children.fork(lambda: serve(0))
    assert metrics.healthy
    assert value(metrics, "process_starts_total") == 3
    assert value(metrics, "answers_total", service="C-STORE", status="0x0000", peer="PACS") == 3
    children.kill(second)
    children.kill(again)


def test_nothing_received_becomes_a_label(metrics: Metrics, spool: Spool) -> None:
    # even where a peers file held it: what a file says is not what a peer sends
    hostile = [f'x"}} 1\n{number}\\'[:16] for number in range(500)]
    for title in hostile:
        metrics.association(Outcome.ACCEPTED, None)
        metrics.association(Rejection.CALLING_AE_TITLE, Peer(title, ()))
    (spool.new / "1.2.840.113619.PATIENT^NAME.dcm").touch()
    shown = samples(metrics)
    allowed = {
        "outcome": {*OUTCOMES},
        "service": {*SERVICES},
        "peer": {"unknown", "other", *hostile},
    }
    for one in shown:
        for label, names in allowed.items():
            assert one.labels.get(label, "unknown") in names | {"unknown"}
    assert "PATIENT" not in exposed(metrics)
    assert value(metrics, "associations_total", outcome="accepted", peer="unknown") == 500


def test_the_number_of_series_is_bounded(metrics: Metrics) -> None:
    for number in range(10_000):
        metrics.answered("C-STORE", 0, Peer(f"AE{number}", ()), 0.1, 1)
    shown = samples(metrics)
    assert len(shown) < 4300
    stored = [one.value for one in shown if one.labels.get("status") == "0x0000" and one.name.endswith("answers_total")]
    assert sum(stored) == 10_000


def test_the_spools_depth_and_the_oldest_of_several_runs(metrics: Metrics, spool: Spool) -> None:
    assert value(metrics, "spool_entries") == 0
    assert value(metrics, "spool_oldest_seconds") == 0
    one, two = "0" * 20, "f" * 20
    # the later run holds the older entry: the clock was set back
    entry(spool, one, 1, NOW - 30)
    entry(spool, one, 2, NOW - 20)
    entry(spool, two, 1, NOW - 500)
    entry(spool, two, 2, NOW + 60)
    (spool.new / ".probe.part").touch()
    (spool.temporary / f"{new_incarnation()}-1.part").touch()
    assert value(metrics, "spool_entries") == 4
    assert value(metrics, "spool_oldest_seconds") == 500
    assert value(metrics, "temporary_files") == 1
    assert value(metrics, "commitment_requests") == 0
    (spool.root / "commitment").mkdir()
    (spool.root / "commitment" / "one").touch()
    assert value(metrics, "commitment_requests") == 1


def test_an_entry_from_the_future_is_not_old(metrics: Metrics, spool: Spool) -> None:
    entry(spool, "0" * 20, 1, NOW + 3600)
    assert value(metrics, "spool_oldest_seconds") == 0


def test_the_disk_against_its_watermark(make_settings: Callable[..., Settings], spool: Spool) -> None:
    del spool
    roomy = Metrics(make_settings(free_space_bytes=1000), STARTED)
    assert value(roomy, "watermark_bytes") == 1000
    assert value(roomy, "free_bytes") > 1000
    assert value(roomy, "refusing") == 0
    full = Metrics(make_settings(free_space_bytes=1 << 49), STARTED)
    assert value(full, "refusing") == 1


def test_a_spool_that_cannot_be_asked_is_left_out_and_the_rest_is_shown(metrics: Metrics) -> None:
    names = {one.name for one in samples(metrics)}
    assert f"{PREFIX}spool_entries" not in names
    assert f"{PREFIX}free_bytes" not in names
    assert f"{PREFIX}answers_total" in names


def test_who_runs_since_when(metrics: Metrics) -> None:
    assert value(metrics, "start_time_seconds") == STARTED.timestamp()
    (build,) = [one for one in samples(metrics) if one.name == f"{PREFIX}build_info"]
    assert build.value == 1
    assert build.labels["version"]


def test_counting_costs_microseconds(metrics: Metrics) -> None:
    number = 2000
    # the best of several: this machine has other things to do; 3 where this was written, and a store takes milliseconds
    best = min(
        timeit.repeat(
            lambda: metrics.answered("C-STORE", StoreStatus.STORED.code, PACS, 0.1, 1), number=number, repeat=9
        )
    )
    assert best / number < 100e-6
