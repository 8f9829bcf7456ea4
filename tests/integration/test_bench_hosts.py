"""The bench is seldom run: a small run of it, so that it works when it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import uid

from bench.hosts import Site, Trial, markdown, trial
from tests import servers


@pytest.mark.requires("postgres")
def test_a_host_works_off_a_load(postgres_server: servers.Server, migrated_postgres: str, tmp_path: Path) -> None:
    with postgres_server.database(migrated_postgres) as url:
        site = Site(tmp_path, url, 200, uid.JPEG2000Lossless)
        done = trial(site, 1, 3, 0)
        assert (done.hosts, done.attempts, site.pending()) == (1, 1, 0)
        assert done.rate > 0
        site.engine.dispose()


def test_two_hosts_are_compared_with_the_median_of_one() -> None:
    trials = [Trial(hosts, n, rate + n, 100.0, 1) for n in range(3) for hosts, rate in ((1, 10), (2, 20))]
    section = markdown(trials, "What was sent.", {"processor": "two"})
    assert "| 1 | 11.0 (10.0 to 12.0) | 1.00 | 100 |" in section
    assert "| 2 | 21.0 (20.0 to 22.0) | 1.91 | 100 |" in section
