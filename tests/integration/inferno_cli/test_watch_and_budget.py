"""``inferno watch`` and ``inferno budget``: what the governator says, as people and programs read it."""

from __future__ import annotations

import json

import pytest

from inferno.governance.v1 import budget_pb2, watch_pb2
from inferno.governance.v1 import governance_service_pb2 as governance
from inferno_runtime.errors import Unsupported
from tests.integration.inferno_cli.conftest import FakeMesh, Run

START = 1_782_000_000
ALERT = watch_pb2.Alert(
    fingerprint="5b1f0c9e2a7d4e61",
    kind="budget",
    subject="search",
    severity=watch_pb2.ALERT_SEVERITY_WARNING,
    cause="Budget search has spent $8.10 of $10.00 (81 %).",
    evidence={"spent": "$8.10", "left": "$1.90"},
    next_step="inferno budget ls",
)
ALERT.start_time.seconds = START


def standing(name: str, spent: int, binding: str = "", **scope: str) -> budget_pb2.BudgetStanding:
    made = budget_pb2.BudgetStanding(
        budget=budget_pb2.Budget(
            name=name, amount_micros=10_000_000, period="month", scope=budget_pb2.BudgetScope(**scope)
        ),
        spent_micros=spent,
        left_micros=10_000_000 - spent,
        forecast_micros=2 * spent,
        binding=binding or name,
        binding_left_micros=1_000_000,
    )
    made.start.seconds, made.end.seconds = START, START + 86_400
    return made


def test_an_alert_is_a_paragraph_with_its_cause_figures_and_what_is_next(run: Run, fake: FakeMesh) -> None:
    over = watch_pb2.Alert()
    over.CopyFrom(ALERT)
    over.end_time.seconds = over.silenced_until.seconds = START + 3600
    fake.alerts = [ALERT, over]
    result = run("watch", "alerts", "--all")
    assert result.exit_code == 0
    lasting, ended = result.stdout.split("\n\n")
    assert lasting.splitlines() == [
        "WARNING budget search  since 2026-06-21 00:00 UTC",
        "  Budget search has spent $8.10 of $10.00 (81 %).",
        "  left $1.90; spent $8.10",
        "  next: inferno budget ls    [5b1f0c9e2a7d4e61]",
    ]
    assert "over since 2026-06-21 01:00 UTC, silent until 2026-06-21 01:00 UTC" in ended
    assert fake.seen[-1].ended
    first, second = json.loads(run("watch", "alerts", "-o", "json").stdout)
    assert (first["severity"], first["ended_at"], first["evidence"]["left"]) == ("warning", None, "$1.90")
    assert second["ended_at"] == "2026-06-21T01:00:00Z"
    fake.alerts = []
    assert run("watch", "alerts").stdout == "No alert lasts.\n"


def test_objectives_are_shown_with_each_window_and_those_that_burn(run: Run, fake: FakeMesh) -> None:
    fast = watch_pb2.BurnRate(
        long_minutes=60, short_minutes=5, long_rate=20, short_rate=30, threshold=14.4, requests=90, bad=9
    )
    slow = watch_pb2.BurnRate(long_minutes=4320, short_minutes=360, long_rate=0.5, short_rate=2, threshold=1)
    fake.watches = [watch_pb2.Watch(model="llama", share=0.995, days=30, burn_rates=[fast, slow])]
    head, first, second = (
        line.split() for line in run("watch", "ls").stdout.splitlines() if "llama" in line or "MODEL" in line
    )
    assert head[:3] == ["MODEL", "GOOD", "WITHIN"]
    assert first == ["llama", "0.995", "-", "1h", "20.00", "5m", "30.00", "14.40", "90", "9", "burns"]
    assert second == ["llama", "0.995", "-", "72h", "0.50", "6h", "2.00", "1.00", "0", "0"]
    rows = json.loads(run("watch", "ls", "-o", "json").stdout)
    assert [row["burns"] for row in rows] == [True, False]
    assert rows[0]["latency_micros"] is None


def test_budgets_are_shown_with_what_binds_them(run: Run, fake: FakeMesh) -> None:
    fake.budgets = governance.ListBudgetsResponse(
        budgets=[standing("org", 9_000_000), standing("search", 12_000_000, "org", team="search")], binding="org"
    )
    text = run("budget", "ls").stdout
    assert "everything" in text
    assert "team search" in text
    assert "!120%" in text
    assert "org: $1.000 left" in text
    told = run("budget", "explain", "--team", "search").stdout
    assert told.splitlines()[-1] == "team search may spend $1.000 more until 2026-06-22 00:00 UTC: org binds."
    found = json.loads(run("budget", "explain", "--team", "search", "-o", "json").stdout)
    assert (found["binding"], [each["left_micros"] for each in found["budgets"]]) == ("org", [1_000_000, -2_000_000])
    fake.budgets = governance.ListBudgetsResponse()
    assert run("budget", "explain", "--key", "ci").stdout == "No budget limits key ci.\n"
    assert "inferno budget set" in run("budget", "ls").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *((("x", amount), "no amount of US dollars") for amount in ("much", "0", "1.0000001", "1e30", "nan", "inf")),
        *((("x", "5", "--at", at), "no percentages") for at in ("half", "", "0", "50,-1", str(2**31))),
    ],
)
def test_what_is_no_budget_is_refused_before_anybody_is_asked(
    run: Run, fake: FakeMesh, arguments: tuple[str, ...], said: str
) -> None:
    result = run("budget", "set", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not fake.seen


def test_an_amount_and_percentages_are_taken_as_people_write_them(run: Run, fake: FakeMesh) -> None:
    result = run("budget", "set", "x", "$1,250.50", "--at", "50%, 100 %", "--team", "t", "--hard")
    assert result.stderr == "Budget x: $1,251 a month for team t.\n"
    kept = fake.seen[-1].budget
    assert (kept.amount_micros, list(kept.thresholds), kept.hard) == (1_250_500_000, [50, 100], True)


@pytest.mark.parametrize("arguments", [("budget", "ls"), ("watch", "ls"), ("watch", "alerts")])
def test_a_mesh_without_a_governator_says_so(run: Run, fake: FakeMesh, arguments: tuple[str, ...]) -> None:
    fake.bill_error = Unsupported("No such call.", reason="NO_CALL", fix="None.")
    result = run(*arguments)
    assert result.exit_code != 0
    assert "its proxy knows no governator" in result.stderr
