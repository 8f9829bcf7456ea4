import pytest

from core.celery import RECONCILE, RETENTION, RING_CLASSIFY, Queue, make_app
from core.settings import Settings


def test_messages_are_json_and_leave_no_results() -> None:
    app = make_app(Settings(broker_url="redis://broker/0"))
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    assert app.conf.result_backend is None
    assert app.conf.task_ignore_result


def test_each_bell_has_its_queue() -> None:
    routes = make_app(Settings()).conf.task_routes
    assert routes[RING_CLASSIFY]["queue"] == Queue.CLASSIFY
    assert routes[RECONCILE]["queue"] == Queue.MAINTENANCE
    assert routes[RETENTION]["queue"] == Queue.MAINTENANCE


def test_beat_rings_for_timed_work_at_its_hour() -> None:
    schedule = make_app(Settings(reconcile_hour=6, retention_hour=2)).conf.beat_schedule
    assert {one["task"]: one["schedule"].hour for one in schedule.values()} == {RECONCILE: {6}, RETENTION: {2}}


@pytest.mark.parametrize("url", ["redis://broker/0", "rediss://broker/0"])
def test_a_hung_broker_is_given_up(url: str) -> None:
    options = make_app(Settings(broker_url=url)).conf.broker_transport_options
    assert 0 < options["socket_timeout"] <= 3
    assert 0 < options["socket_connect_timeout"] <= 3


@pytest.mark.parametrize(("plain", "secured"), [("redis", "rediss"), ("amqp", "amqps")])
def test_a_broker_behind_tls_is_given_up_as_soon(plain: str, secured: str) -> None:
    bare, behind = (make_app(Settings(broker_url=f"{scheme}://broker//")) for scheme in (plain, secured))
    assert behind.conf.broker_transport_options == bare.conf.broker_transport_options != {}


def test_rabbitmq_confirms() -> None:
    assert make_app(Settings(broker_url="amqp://broker//")).conf.broker_transport_options["confirm_publish"]
