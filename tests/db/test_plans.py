"""What years of months have filled is looked up by index: no statement reads a whole ledger to find a few of its rows.

Every statement is planned, as the application's role, on an agency with three years behind it, with the statistics of
real rows. A new one is planned too: it only has to be told, in `WHICH`, what its parameters are.
"""

import datetime
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

import invoicing
from invoicing.db import statements
from invoicing.db.connection import Database, connect
from invoicing.domain.period import Period
from invoicing.domain.task_address import TaskAddress
from invoicing.mail.transmission import Outcome, Phase, Verdict
from invoicing.services.agency.settings import current_settings
from invoicing.services.agency.templates import current_template
from invoicing.services.billing import count, decide, generate, leases, out_of_step, runs
from invoicing.services.delivery import select
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Ledger, Worker
from support.agency import Agency
from support.database import Server, as_superuser
from support.project import TESTS

PACKAGE = Path(invoicing.__file__).parent
OWNED = sorted(
    path
    for path in PACKAGE.rglob("*.sql")
    if path.with_suffix(".py").exists() and "migrations" not in path.parts
)
STATEMENTS = {
    f"{path.relative_to(PACKAGE).with_suffix('')}: {name}": statement.decode()
    for path in OWNED
    for name, statement in statements.beside(str(path.with_suffix(".py"))).items()
}

MONTHS = 36
LARGE = 20_000
"""Rows of a table that nobody reads through for a few of them."""

SOME = list(range(1, 51))
TODAY = datetime.date(2026, 11, 29)
NOW = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)

_WRITTEN = (
    "actor reason reply verdict phase details subject action currency city language emails cc_emails "
    "withholding_agent document_number document_type use rent start_date end_date property total "
    "message_id sha256 key size_bytes host payload_sha256 scope fingerprint summary via answer texts "
    "alarm_on cause problem parts_sha256 to act made_id started_by started_via code_version valid_to "
    "valid_from first_serial resolution prorated to_period from_period description tax concept amount "
    "settings fields parts"
)

# What each parameter stands for; of one statement alone, under its name. What is only written is None.
WHICH: dict[str, Any] = {
    **dict.fromkeys(_WRITTEN.split()),
    "cycle_id": 1, "period": "2026-11", "id": 7, "ids": SOME, "limit": 50, "offset": 100, "most": 50,
    "longest": HOUR, "tenant_id": 7, "tenant_ids": SOME, "run_id": 1, "lease_ids": SOME, "lease_id": 7,
    "invoice_id": 7, "delivery_ids": SOME, "code": "T00007", "codes": [f"T{n:05}" for n in SOME],
    "tenant": "T00007", "lease": "L7-1", "tenant_code": "T00007", "lease_code": "L7-1", "number": "FV-7",
    "numbers": [f"FV-{n}" for n in SOME], "reference": "R300", "references": [f"R{300 * n}" for n in SOME],
    "subjects": [f"tenant T{n:05}" for n in SOME], "prefix": "FV-", "first_day": datetime.date(2026, 11, 1),
    "last_day": datetime.date(2026, 11, 30), "day": TODAY, "today": TODAY, "before": NOW, "since": NOW,
    "now": NOW, "after": HOUR, "duration": HOUR, "patterns": ["%zuluaga%", "%99%"], "auto_send": None,
    "only_multiple": None, "without_address": False, "switch": "auto_send", "value": True, "sort": "name",
    "descending": False, "outcome": None, "state": None, "only": None, "name": "default", "version": 1,
    "settings_version_id": 1, "template_version_id": 1, "dag_id": "monthly_invoicing",
    "dag_run_id": "manual__2026-11", "owner": "monthly_invoicing/manual__2026-11/send_invoices/7",
    "tasks": "monthly_invoicing/manual__2026-11/", "execution": "x", "is_repeated": False, "token": 1,
    "from_states": ["transmitting", "in_doubt"], "anew": SOME, "looked_at": SOME, "drifted": [1, 2],
    "known_only": False, "this": "2026-11", "earlier": 3, "but": ["2026-11"], "request_id": 1,
    "fingerprints": ["0" * 64] * len(SOME), "user_id": "7", "root": "file:///archive", "entry": 7, "first": 7,
    "tables": ["invoice", "delivery"], "grouping": "per_tenant", "newest": 7, "kinds": [1] * len(SOME),
    "counts": [1] * len(SOME), "reasons": [None], "traces": ["[]"], "rows": Jsonb([]), "count": 50,
    "stage": "generated", "last_serial": 7, "keeps_words": False,
    "backwards": False, "key_code": "T00007", "key_name": "ana pena 7", "key_updated_at": NOW,
    "key_series": "FV-", "key_serial": 7,
}  # fmt: skip
OF: dict[str, dict[str, Any]] = {
    "db/migrate: limit_waiting": {"longest": "1s"},
    "services/billing/runs: finish_generating": {"counts": Jsonb({})},
    "services/billing/runs: finish_counting": {"counts": Jsonb({})},
    "services/billing/runs: finish_deciding": {"counts": Jsonb({})},
    "services/delivery/ledger: settle": {"code": 250},
    "services/delivery/notices: take": {"after": 7},
    "services/delivery/trial: settle": {"code": 250},
    "services/views/approvals: earlier_answers": {"before": 7},
    "services/audit/export: entries_from": {"first": 10**9},
    "services/views/report: deliveries": {"after": 7},
}

# What is no statement to plan, and why.
UNPLANNED = {
    **dict.fromkeys(
        (name for name in STATEMENTS if name.startswith("services/audit/export: of_")), "a piece of `rows`"
    ),
    "services/audit/export: rows": "filled in with a table's name; measured by test_export_large",
    "services/audit/history: differing_rows": "the same; it looks at every row of a table on purpose",
    "services/audit/history: backdated_rows": "the same; it looks at every row of a table on purpose",
    "db/migrate: add_applied": "the owner's",
    "services/delivery/retention: purge_trial_messages": "the owner's; of tables that stay small",
    "services/delivery/retention: purge_notices": "the owner's; of tables that stay small",
}
_PLANNED = re.compile(r"(?:--[^\n]*\n|\s)*(SELECT|WITH|INSERT|UPDATE|DELETE)\b")
_OTHERS = re.compile(r"(?:--[^\n]*\n|\s)*(COPY|SET|CREATE|GRANT|REVOKE|DO)\b")

# Pieces that make a statement only together, and what they make.
TOGETHER = {
    "services/views/cycle_tenants": [
        ("page_of", "of_decisions", "by_decision", "end_of_page"),
        ("page_of", "of_decisions", "from_key", "by_decision", "end_of_page"),
        ("page_of", "of_decisions", "who_get_mail", "by_decision", "end_of_page"),
        (
            "page_of",
            "of_decisions",
            "who_get_none",
            "for_a_reason",
            "with_state",
            "by_decision",
            "end_of_page",
        ),
        ("page_of", "of_decisions", "without_delivery", "with_words", "by_decision", "end_of_page"),
        ("page_of", "of_deliveries", "by_delivery", "end_of_page"),
        ("count_of", "end_of_count"),
        ("count_of_words", "with_words", "end_of_count"),
    ],
}


def statements_to_plan() -> dict[str, str]:
    """All there are, by name; none is left out without a word."""
    left = {name: statement for name, statement in STATEMENTS.items() if name not in UNPLANNED}
    found = {}
    for module, all_together in TOGETHER.items():
        for pieces in all_together:
            found[f"{module}: {'+'.join(pieces)}"] = "\n".join(
                STATEMENTS[f"{module}: {each}"] for each in pieces
            )
        for piece in {each for pieces in all_together for each in pieces}:
            del left[f"{module}: {piece}"]
    found |= {name: statement for name, statement in left.items() if _PLANNED.match(statement)}
    unknown = [name for name in left if name not in found and not _OTHERS.match(left[name])]
    assert unknown == [], (
        "neither a statement nor a piece that is known: say in TOGETHER or UNPLANNED what it is"
    )
    return found


# Who may read a large table through, and why.
ALLOWED = {
    "services/audit/history: broken_links": "an audit looks at every entry",
    "services/audit/history: foreign_entries": "an audit looks at every entry",
    "services/audit/look_back: documents": "every document there is, read by a cursor",
    "services/audit/look_back: figures": "how long the whole chain is",
    "services/delivery/archive: is_in_use": "whether there is any: it ends at the first",
}


# Who may read a large agency's tenants, leases and charges through, and why: half of them are in every month.
_ALL_OF_AN_IMPORT = "an import looks at every row"
_ALL_OF_A_MONTH = "a month is of nearly all tenants"
OF_THE_AGENCY = {
    "services/agency/cities: spellings": "how every city is spelt",
    "services/agency/merge: compare_charges": _ALL_OF_AN_IMPORT,
    "services/agency/merge: delete_charges": _ALL_OF_AN_IMPORT,
    "services/agency/overwrites: last_words_on_charges": _ALL_OF_AN_IMPORT,
    "services/agency/tenants: tenant_codes": _ALL_OF_AN_IMPORT,
    "services/billing/billed: bills": _ALL_OF_A_MONTH,
    "services/billing/billed: outcomes": _ALL_OF_A_MONTH,
    "services/billing/decide: undecided_single_invoices": "few, which statistics cannot tell; asked once a run",
    "services/billing/leases: count_to_invoice": _ALL_OF_A_MONTH,
    "services/billing/out_of_step: leases_of": _ALL_OF_A_MONTH,
    "services/billing/series: leases_of_month": _ALL_OF_A_MONTH,
    "services/delivery/closing: imbalances": _ALL_OF_A_MONTH,
    "services/views/correctable: correctable": _ALL_OF_A_MONTH,
    "services/views/foresight: fingerprint": "whether any lease or charge changed",
    "services/views/foresight: invoices": _ALL_OF_A_MONTH,
    "services/views/foresight: tenants": _ALL_OF_A_MONTH,
    "services/views/health: month": "how many leases a month would have",
    "services/views/invoices: single_invoices_found": "a number and a reference are searched with the tenant's words",
    "services/views/phases: documents": _ALL_OF_A_MONTH,
    "services/views/report: decisions_of_cycle": _ALL_OF_A_MONTH,
    "services/views/report: invoices_of_cycle": _ALL_OF_A_MONTH,
    "services/views/single_invoices: single_invoices": "all of them",
    "services/views/tenants: tenant_counts": "how many tenants there are of each kind; remembered",
}


def parameters_of(name: str, statement: str) -> dict[str, Any]:
    asked = set(re.findall(r"%\((\w+)\)s", statement))
    known = WHICH | OF.get(name, {})
    assert asked <= set(known), f"{name}: say in WHICH what {sorted(asked - set(known))} stand for"
    return {each: known[each] for each in asked}


def scans(node: dict[str, Any], partial: set[str], *, is_limited: bool = False) -> Iterator[str]:
    """The tables that a plan reads through: from one end to the other, or the whole of an index."""
    kind = node["Node Type"]
    is_limited = is_limited or kind == "Limit"
    if kind == "Seq Scan":
        yield node["Relation Name"]
    if (
        kind in ("Index Scan", "Index Only Scan")
        and not is_limited
        and "Index Cond" not in node
        and node["Index Name"] not in partial
    ):
        yield node["Relation Name"]
    for inner in node.get("Plans", ()):
        yield from scans(inner, partial, is_limited=is_limited)


@contextmanager
def years(server: Server, tenants: int) -> Iterator[Database]:
    """An agency of so many tenants with `MONTHS` behind it."""
    scripts = [
        (TESTS / where).read_text(encoding="utf-8")
        for where in ("bench/large_agency.sql", "support/years.sql")
    ]
    with server.fresh_copy() as dsn, connect(dsn) as db:
        current_settings(db)
        current_template(db, "default")
        with psycopg.connect(as_superuser(dsn), autocommit=True) as superuser:
            superuser.execute("SET session_replication_role = replica")
            superuser.execute("SET synchronous_commit = off")
            for script in scripts:
                for statement in script.split(";\n"):
                    if statement.strip():
                        superuser.execute(statement.encode(), {"tenants": tenants, "months": MONTHS})
            superuser.execute("VACUUM ANALYZE")
        yield db


def large_tables(db: Database) -> set[str]:
    rows = db.execute(
        "SELECT relname AS name FROM pg_class WHERE relnamespace = 'invoicing'::regnamespace AND relkind = 'r'"
        " AND reltuples >= %s",
        [LARGE],
    )
    return {row["name"] for row in rows}


def partial_indexes(db: Database) -> set[str]:
    rows = db.execute("SELECT indexrelid::regclass::text AS name FROM pg_index WHERE indpred IS NOT NULL")
    return {row["name"].removeprefix("invoicing.") for row in rows}


def read_through(db: Database) -> dict[str, set[str]]:
    """Each statement that reads large tables through, with these."""
    large, partial = large_tables(db), partial_indexes(db)
    for name, statement in STATEMENTS.items():
        if ": stage_" in name:
            db.execute(statement.replace("ON COMMIT DROP", "").encode())
    found = {}
    for name, statement in statements_to_plan().items():
        row = db.execute(
            b"EXPLAIN (FORMAT JSON) " + statement.encode(), parameters_of(name, statement)
        ).fetchone()
        assert row is not None
        tables = set(scans(row["QUERY PLAN"][0]["Plan"], partial)) & large
        if tables:
            found[name] = tables
    return found


@pytest.fixture(scope="module")
def three_years(server: Server) -> Iterator[Database]:
    """A small agency with three years behind it: of a table that grows by the month, a month is as small a part."""
    with years(server, 700) as db:
        yield db


def unexpected(found: dict[str, set[str]]) -> dict[str, set[str]]:
    return {name: tables for name, tables in found.items() if name not in ALLOWED}


def test_no_statement_reads_years_through_for_a_few_rows(three_years: Database) -> None:
    assert unexpected(read_through(three_years)) == {}


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_nor_does_one_in_a_large_agency(server: Server) -> None:
    """Here the tables of tenants, leases and charges are large, too."""
    assert set(OF_THE_AGENCY) <= set(statements_to_plan())
    with years(server, 100_000) as db:
        found = unexpected(read_through(db))
    assert {name: tables for name, tables in found.items() if name not in OF_THE_AGENCY} == {}
    # Of the ledger itself these read no more than of a small agency's.
    ledger = {"invoice", "delivery", "delivery_event", "delivery_attempt", "decision", "history_entry"}
    assert {name: tables for name, tables in found.items() if tables & ledger} == {}


def times_read_through(db: Database) -> Counter[str]:
    """How often each large table was: by statements, and by what their triggers and functions ask."""
    db.execute("SELECT pg_stat_force_next_flush()")
    rows = db.execute(
        "SELECT relname AS name, seq_scan FROM pg_stat_user_tables WHERE schemaname = 'invoicing'"
    )
    return Counter({row["name"]: row["seq_scan"] for row in rows})


def test_nor_does_a_run_and_what_it_sends_by_its_triggers(
    three_years: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As small a part of a month as it is of a large one's.
    for module in (out_of_step, leases, decide):
        monkeypatch.setattr(module, "fetch_chunks", partial(statements.fetch_chunks, size=100))
    db = three_years
    Agency(db).add_tenant("NEW")
    large, before = large_tables(db), times_read_through(db)

    run_id = runs.open_run(db, dag_id="monthly_invoicing", dag_run_id="again", period=Period(2026, 11))
    assert generate.generate_invoices(db, run_id)["issued"] == 1
    count.count_invoices(db, run_id)
    batches = select.select_recipients(db, run_id)
    ((delivery_id,),) = [batch.delivery_ids for batch in batches]
    address = TaskAddress("monthly_invoicing", "again", "send_invoices", 0)
    ledger = Ledger(db, Journal(tmp_path), Worker(address, "again", "test"), lambda _: None, 60)
    claim = ledger.claim(ledger.find(delivery_id))
    assert claim is not None
    ledger.mark(delivery_id, claim.token, "0" * 64)
    state, _ = ledger.settle(delivery_id, claim.token, Outcome(Verdict.ACCEPTED, Phase.ACCEPTANCE, 250, "Ok"))

    assert state == "sent"
    assert set(times_read_through(db) - before) & large == set()
