"""Which alerts begin, change and end, and what a receiver is told."""

from __future__ import annotations

from dataclasses import replace

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.alerts import messages
from inferno_governator.alerts.alert import Alert, Finding, Kind, Severity, Told
from inferno_governator.alerts.judging import HOLD_MICROS, MOST, AlertBook, untold
from inferno_governator.alerts.settings import ReceiverSettings
from inferno_governator.settings import GovernatorSettings

MINUTE = 60_000_000
ALL = frozenset(Kind)


def finding(subject: str = "b", severity: Severity = Severity.WARNING, kind: Kind = Kind.BUDGET) -> Finding:
    return Finding(kind, subject, severity, "It happened.", "inferno budget ls", {"spent": "$1"})


def test_the_same_finding_is_one_alert_until_it_is_gone_for_a_while() -> None:
    book = AlertBook((), 0)
    (began,) = book.look([finding()], ALL, 0)
    assert not book.look([finding()], ALL, MINUTE)
    assert not book.look([], ALL, MINUTE + HOLD_MICROS - 1), "what comes and goes is one alert"
    (ended,) = book.look([], ALL, MINUTE + HOLD_MICROS)
    assert ended == replace(began, end_micros=MINUTE + HOLD_MICROS)
    assert book.lasting == []
    (again,) = book.look([finding()], ALL, 10 * HOLD_MICROS)
    assert again.start_micros == 10 * HOLD_MICROS


def test_what_was_not_looked_at_has_not_ended() -> None:
    book = AlertBook((), 0)
    book.look([finding()], ALL, 0)
    assert not book.look([], {Kind.NODE}, 10 * HOLD_MICROS)
    assert len(book.lasting) == 1


def test_what_lasted_before_a_restart_lasts_and_is_not_told_again() -> None:
    alert = Alert(finding(), 5)
    book = AlertBook([alert], 100 * MINUTE)
    assert not book.look([finding()], ALL, 100 * MINUTE)
    assert untold(book.lasting, {alert.key: Told(Severity.WARNING, ended=False)}, Severity.INFO, (), 0) == []


def test_a_receiver_is_told_once_and_again_when_it_grows_worse_and_when_it_is_over() -> None:
    alert = Alert(finding(), 5)
    assert untold([alert], {}, Severity.INFO, (), 9) == [alert]
    known = {alert.key: Told(Severity.WARNING, ended=False)}
    assert untold([alert], known, Severity.INFO, (), 9) == []
    worse = replace(alert, finding=finding(severity=Severity.CRITICAL))
    assert untold([worse], known, Severity.INFO, (), 9) == [worse]
    milder = replace(alert, finding=finding(severity=Severity.INFO))
    assert untold([milder], known, Severity.INFO, (), 9) == []
    over = replace(alert, end_micros=8)
    assert untold([over], known, Severity.INFO, (), 9) == [over]
    assert untold([over], {alert.key: Told(Severity.WARNING, ended=True)}, Severity.INFO, (), 9) == []
    assert untold([over], {}, Severity.INFO, (), 9) == [], "it was over before anybody heard of it"


def test_a_receiver_is_told_of_what_it_asked_for_and_of_nothing_silenced() -> None:
    mild = Alert(finding(severity=Severity.INFO), 1)
    silenced = Alert(finding("quiet", Severity.CRITICAL), 1, silenced_until_micros=10)
    assert untold([mild, silenced], {}, Severity.WARNING, (), 9) == []
    assert untold([mild, silenced], {}, Severity.INFO, (Kind.NODE,), 11) == []
    assert untold([mild, silenced], {}, Severity.INFO, (Kind.BUDGET,), 11) == [silenced, mild]


severities = st.sampled_from(list(Severity))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), severities), max_size=30), st.sets(st.integers(0, 30)))
def test_a_receiver_that_is_away_at_times_hears_the_end_of_all_it_heard_begin(
    looks: list[dict[str, Severity]], away: set[int]
) -> None:
    book = AlertBook((), 0)
    known: dict[tuple[str, int], Alert] = {}
    told: dict[tuple[str, int], Told] = {}
    quiet: list[dict[str, Severity]] = [{}, {}, {}]
    for at, look in enumerate([*looks, *quiet]):
        now = at * HOLD_MICROS
        changed = book.look([finding(name, severity) for name, severity in look.items()], ALL, now)
        known.update({each.key: each for each in changed})
        if at in away and at < len(looks):
            continue
        for alert in untold(known.values(), told, Severity.INFO, (), now):
            assert told.get(alert.key) != Told(alert.finding.severity, alert.end_micros is not None)
            told[alert.key] = Told(alert.finding.severity, alert.end_micros is not None)
    assert not book.lasting
    assert all(each.ended for each in told.values())


def test_a_message_is_bounded_and_says_the_worst_first() -> None:
    alerts = [Alert(finding(str(at)), at) for at in range(2 * MOST)]
    alerts.append(Alert(finding("worst", Severity.CRITICAL), 10**9))
    due = untold(alerts, {}, Severity.INFO, (), 0)
    assert (len(due), due[0].finding.subject) == (MOST, "worst")


def test_messages_carry_cause_figures_and_what_to_look_at_next() -> None:
    alert = Alert(finding(), 1_700_000_000_000_000)
    (ours,) = messages.webhook([alert])["alerts"]
    assert (ours["status"], ours["cause"], ours["evidence"]) == ("firing", "It happened.", {"spent": "$1"})
    assert (ours["next"], ours["started_at"]) == ("inferno budget ls", "2023-11-14T22:13:20+00:00")
    (theirs,) = messages.alertmanager([alert], 1_700_000_000_000_000, 60)
    assert theirs["labels"]["alertname"] == "InfernoBudget"
    assert theirs["endsAt"] == "2023-11-14T22:17:20+00:00", "it ends by itself when nobody says it again"
    (over,) = messages.alertmanager([replace(alert, end_micros=1_700_000_001_000_000)], 0, 60)
    assert over["endsAt"] == "2023-11-14T22:13:21+00:00"


def test_a_receiver_is_told_once_who_asks() -> None:
    said = {"kind": "webhook", "url": "http://u:sEcReT@h/x", "headers": {"Authorization": "Bearer abc"}}
    with pytest.raises(pydantic.ValidationError, match="give one of them"):
        ReceiverSettings.model_validate(said)
    assert ReceiverSettings.model_validate({**said, "headers": {"x-other": "y"}}).headers


def test_headers_and_addresses_are_secret_wherever_settings_are_shown() -> None:
    made = ReceiverSettings.model_validate(
        {"kind": "webhook", "url": "http://h/sEcReT", "headers": {"authorization": "Bearer abc"}}
    )
    shown = GovernatorSettings(alerts={"w": made})
    said = repr(shown) + str(shown.model_dump(mode="json"))
    assert "abc" not in said
    assert "sEcReT" not in said
    assert "http://h/***" in said
    assert made.headers["authorization"].get_secret_value() == "Bearer abc"
