"""Notices through apprise to real receivers: up, down, slow and refusing; and never a secret in a log or an error."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from pydantic import SecretStr

from ragd.alerts import Alert, AlertBook, Kind, Notice, Severity
from ragd.config import load_settings, split_urls
from ragd.errors import ConfigError, UnavailableError
from ragd.notices import Patience, RefusedUrlError, Service, check_urls, close_outlets, open_outlets
from ragd.store import Store
from ragd.store_link import StoreLink
from ragd.watchdog import Watchdog
from tests.receivers import SECRET, HttpReceiver, free_port, http_receiver, mail_receiver, until
from tests.toytree import ROOT, ToyTree, settings_of

QUICK = Patience(give_up_seconds=60, longest_pause_seconds=0.3, send_seconds=20)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


def service_for(*urls: str, patience: Patience = QUICK) -> Service:
    (service,) = open_outlets(SecretStr(" ".join(urls)), patience)
    return service


def raised(text: str = "the disk is full") -> Notice:
    now = time.time()
    return Notice(Kind.RAISED, Alert(Severity.ERROR, "disk", text, now, now), now)


def test_a_notice_arrives_with_title_text_and_type(receiver: HttpReceiver) -> None:
    service = service_for(receiver.url)
    book = AlertBook([service])
    book.raise_alert(Severity.ERROR, "disk", "the disk is full")
    book.resolve("disk")
    book.deliver()
    until(lambda: len(receiver.bodies) == 2, "both arrive")
    service.close()
    first, second = receiver.documents()
    assert first["title"].startswith("ragd on ")
    assert first["title"].endswith(": error")
    assert (first["message"], first["type"]) == ("the disk is full", "failure")
    assert second["title"].endswith(": recovered after 1 min")
    assert second["type"] == "success"
    assert book.undelivered() == 0


def test_mail(receiver: HttpReceiver) -> None:
    with mail_receiver() as mailbox:
        service = service_for(mailbox.url)
        service.send(raised("the disk is nearly full"))
    (mail,) = mailbox.mails
    assert "Subject: ragd on " in mail
    assert "the disk is nearly full" in mail


def test_a_receiver_that_was_down_is_told_in_order_when_it_is_up(
    receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.stop()
    service = service_for(receiver.url)
    with caplog.at_level(logging.INFO):
        for number in range(3):
            service.take(raised(f"number {number}"))
        until(lambda: service.problem(), "the failure shows")
        assert service.undelivered() == 3
        assert service.problem() == "entry 1 (json): the service cannot be reached"
        receiver.start()
        until(lambda: len(receiver.bodies) == 3, "all arrive")
        until(lambda: not service.undelivered(), "and that shows too")
    service.close()
    assert [document["message"] for document in receiver.documents()] == ["number 0", "number 1", "number 2"]
    assert service.problem() == ""
    assert [record.getMessage() for record in caplog.records if record.name == "ragd.notices"] == [
        "alerts do not reach entry 1 (json): the service cannot be reached",
        "alerts reach entry 1 (json) again",
    ]


def test_a_notice_is_given_up_when_it_is_old_and_the_next_one_is_tried(receiver: HttpReceiver) -> None:
    receiver.status = 500
    service = service_for(receiver.url, patience=Patience(give_up_seconds=0.5, longest_pause_seconds=0.1))
    service.take(raised("too early"))
    until(lambda: service.undelivered() and not service._in_hand, "given up")
    assert service.problem() == "entry 1 (json): the service answered with HTTP status 500"
    receiver.status = 200
    service.take(raised("in time"))
    until(lambda: not service.undelivered(), "delivered")
    service.close()
    assert [document["message"] for document in receiver.documents()] == ["in time"]


def test_a_dead_service_keeps_no_other_waiting(receiver: HttpReceiver) -> None:
    dead, alive = open_outlets(SecretStr(f"json://127.0.0.1:{free_port()}/, {receiver.url}"), QUICK)
    book = AlertBook([dead, alive])
    book.raise_alert(Severity.ERROR, "disk", "the disk is full")
    book.deliver()
    until(lambda: receiver.bodies and dead.undelivered() == 1, "one arrives, the other does not")
    assert book.undelivered() == 1
    assert book.problems() == ["entry 1 (json): the service cannot be reached"]
    close_outlets([dead, alive])


def test_a_service_that_never_answers_is_cut_off(receiver: HttpReceiver) -> None:
    receiver.hold.clear()
    service = service_for(receiver.url, patience=Patience(send_seconds=2))
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="no answer within 2 s"):
        service.send(raised())
    assert time.monotonic() - started < 5


def test_a_slow_receiver_does_not_hold_up_the_pass(receiver: HttpReceiver) -> None:
    """The watchdog's own passes, with a service that does not answer while they go on."""
    receiver.hold.clear()
    with ToyTree() as tree:
        tree.start()
        tree.settings = settings_of({**tree.variables, "MIN_DISK_GB": "1e9"})
        services = open_outlets(SecretStr(receiver.url), QUICK)
        watchdog = Watchdog(tree.settings, outlets=services)
        watchdog.step(time.monotonic())
        until(lambda: receiver.requests, "the alert is on its way")
        longest = 0.0
        for _ in range(50):
            started = time.monotonic()
            watchdog.step(started)
            longest = max(longest, time.monotonic() - started)
        assert not receiver.bodies
        assert longest < 1.0
        receiver.hold.set()
        until(lambda: receiver.bodies, "arrives once it is answered")
        close_outlets(services)


def test_a_locked_database_does_not_silence_the_services(receiver: HttpReceiver, tmp_path: Path) -> None:
    path = tmp_path / "ragd.sqlite3"
    Store.open(path).close()
    blocker = apsw.Connection(str(path))
    blocker.execute("BEGIN IMMEDIATE")
    services, link = open_outlets(SecretStr(receiver.url), QUICK), StoreLink(path)
    book = AlertBook([*services, link])
    book.raise_alert(Severity.CRITICAL, "store", "the database is locked")
    book.deliver()
    until(lambda: receiver.bodies, "told all the same")
    assert book.undelivered() == 1
    blocker.execute("ROLLBACK")
    blocker.close()
    book.deliver()
    assert book.undelivered() == 0
    link.close()
    close_outlets(services)


def test_the_watchdog_loads_neither_apprise_nor_what_that_needs() -> None:
    code = "import ragd.cli.daemon, ragd.watchdog, sys; print({'apprise', 'requests', 'sentry_sdk'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_taking_waits_for_nothing_and_keeps_a_bound(receiver: HttpReceiver) -> None:
    receiver.hold.clear()
    service = service_for(receiver.url)
    started = time.monotonic()
    for number in range(1000):
        service.take(raised(str(number)))
    assert time.monotonic() - started < 0.5
    assert len(service._notices) <= 100
    service.close()


def test_no_thread_and_no_process_before_there_is_something_to_send() -> None:
    before = threading.active_count()
    open_outlets(SecretStr("json://127.0.0.1:1/ json://127.0.0.1:2/"))
    assert threading.active_count() == before


# What apprise does not understand


def test_an_entry_apprise_does_not_understand_is_named_without_its_content() -> None:
    with pytest.raises(ConfigError) as caught:
        check_urls(SecretStr(f"json://127.0.0.1/ok slack://{SECRET}"))
    assert "entry 2 (slack)" in str(caught.value)
    assert SECRET not in caught.value.one_line()
    with pytest.raises(ConfigError, match=r"entry 1 \(nosuch\)"):
        check_urls(SecretStr(f"nosuch://{SECRET}/x"))
    check_urls(SecretStr("json://127.0.0.1/ok"))
    check_urls(None)


def test_such_an_entry_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    service = service_for(f"slack://{SECRET}")
    with pytest.raises(RefusedUrlError):
        service.send(raised())
    service.take(raised())
    until(lambda: service.undelivered() and not service._in_hand, "given up at once")
    service.close()
    assert service.problem() == "entry 1 (slack): apprise does not understand the URL"


@pytest.mark.parametrize("text", ["no-url", "json://", "json://ok/ just-text", "/etc/passwd"])
def test_what_is_no_url_is_refused_by_the_settings(text: str) -> None:
    with pytest.raises(ConfigError, match=r"ALERT_URLS=\*\*\*: entry \d") as caught:
        load_settings(ALERT_URLS=text)
    assert text not in caught.value.one_line()


def test_entries_are_separated_by_blanks_or_commas_and_may_hold_commas() -> None:
    urls = "json://a/?x=1,2 , mailto://u:p@b?to=c@d,e@f\n  slack://g/h"
    assert split_urls(SecretStr(urls)) == ["json://a/?x=1,2", "mailto://u:p@b?to=c@d,e@f", "slack://g/h"]
    assert split_urls(SecretStr(" , ")) == split_urls(None) == []


def test_urls_are_masked() -> None:
    settings = load_settings(ALERT_URLS=f"json://host/{SECRET}")
    assert settings.masked()["ALERT_URLS"] == "********"
    assert SECRET not in repr(settings)


def test_no_secret_reaches_log_or_status(receiver: HttpReceiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.status = 403
    impatient = Patience(give_up_seconds=0, longest_pause_seconds=0.1)
    urls = SecretStr(f"{receiver.url} json://u:{SECRET}@127.0.0.1:{free_port()}/ slack://{SECRET}")
    services = open_outlets(urls, impatient)
    with caplog.at_level(logging.DEBUG):
        for service in services:
            service.take(raised())
        until(lambda: all(service._given_up for service in services), "all given up")
    close_outlets(services)
    said = caplog.text + "".join(service.problem() for service in services)
    assert said.count("given up") == 3
    assert SECRET not in said
