"""History that cannot be rewritten quietly: whatever is changed in a row that counts is found, and named."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from invoicing.db.connection import Database, connect
from invoicing.db.migrate import MIGRATIONS, migrate
from invoicing.services.audit import history
from invoicing.services.audit.layout import TABLES
from support.agency import Agency
from support.database import Server, as_owner, as_superuser, tampering


@contextmanager
def above_the_rules(db: Database) -> Iterator[Database]:
    """The superuser, with no trigger in the way."""
    with connect(as_superuser(db.info.dsn)) as superuser:
        superuser.execute("SET session_replication_role = replica")
        yield superuser


def found(db: Database) -> list[tuple[str, str]]:
    """Where something differs, and what."""
    return [(each.where, each.what.code) for each in history.differences(db)]


@pytest.fixture
def month(agency: Agency) -> Database:
    """A month of three tenants, sealed."""
    for code in ("A", "B", "C"):
        agency.add_tenant(code, leases=2)
    agency.run()
    agency.put("A", "claimed", "transmitting")
    history.seal(agency.db)
    return agency.db


def test_a_month_is_as_it_was_written(month: Database) -> None:
    assert found(month) == []
    assert history.head(month).unsealed == 0


def test_every_table_that_is_tracked_is_the_same_list_everywhere(db: Database) -> None:
    tracked = db.execute(
        "SELECT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgfoid = 'invoicing.keep_history'::regproc"
    )

    assert sorted(row["name"].removeprefix("invoicing.") for row in tracked) == sorted([*TABLES, *TABLES])


def test_the_chain_is_what_the_page_of_an_export_says(month: Database) -> None:
    """With nothing but SHA-256 of text."""
    rows = month.execute(
        "SELECT e.id, e.source, e.key, encode(e.sha256, 'hex') AS row, e.writer, encode(l.sha256, 'hex') AS link"
        " FROM invoicing.history_entry e JOIN invoicing.history_link l ON l.entry_id = e.id ORDER BY e.id"
    ).fetchall()
    link = "0" * 64
    for row in rows:
        text = f"{link} {row['id']} {row['source']} {row['key']} {row['row']} {row['writer']}"
        link = hashlib.sha256(text.encode()).hexdigest()
        assert link == row["link"]
    assert history.head(month).sha256 == link


@pytest.mark.parametrize(
    ("act", "where"),
    [
        ("UPDATE invoicing.delivery_event SET reason = 'x' WHERE id = 2", "delivery_event 2"),
        ("UPDATE invoicing.invoice SET total = total + 1, subtotal = subtotal + 1 WHERE id = 3", "invoice 3"),
        (
            "UPDATE invoicing.invoice_line SET description = 'Calle 2' WHERE invoice_id = 1",
            "invoice_line 1/1",
        ),
        ("UPDATE invoicing.delivery_attempt SET host = 'other'", "delivery_attempt 1/1"),
        ("UPDATE invoicing.audit_event SET actor = 'nobody' WHERE id = 1", "audit_event 1"),
        (
            "UPDATE invoicing.decision SET decided_at = decided_at - interval '1 microsecond' WHERE id = 1",
            "decision 1",
        ),
        ("UPDATE invoicing.settings_version SET actor = 'x' WHERE id = 1", "settings_version 1"),
        ("UPDATE invoicing.tenant SET name = 'X' WHERE id = 2", "tenant 2"),
    ],
)
def test_one_value_of_one_row_is_named(month: Database, act: str, where: str) -> None:
    with above_the_rules(month) as superuser:
        superuser.execute(act.encode())

    assert found(month) == [(where, "history_row_altered")]


def test_a_row_that_is_gone_and_one_that_was_put_between_are_named(month: Database) -> None:
    with above_the_rules(month) as superuser:
        superuser.execute("DELETE FROM invoicing.delivery_event WHERE id = 1")
        superuser.execute(
            "INSERT INTO invoicing.audit_event (id, actor, action, subject) OVERRIDING SYSTEM VALUE"
            " VALUES (777, 'nobody', 'nothing', 'nowhere')"
        )

    assert sorted(found(month)) == [
        ("audit_event 777", "history_row_unrecorded"),
        ("delivery_event 1", "history_row_missing"),
    ]


def test_a_row_that_was_put_in_later_and_says_otherwise_is_named(month: Database) -> None:
    """With all triggers on: it has its entry, but in the wrong place."""
    with connect(as_superuser(month.info.dsn)) as superuser:
        superuser.execute(
            "INSERT INTO invoicing.audit_event (at, actor, action, subject)"
            " VALUES (now() - interval '2 hours', 'nobody', 'delivery_resolved', 'delivery 1')"
        )

    assert sorted(found(month)) == [
        ("audit_event 2", "history_foreign_writer"),
        ("audit_event 2", "history_row_backdated"),
    ]


def test_what_a_superuser_changes_where_the_guards_let_it_is_named(month: Database) -> None:
    with connect(as_superuser(month.info.dsn)) as superuser:
        superuser.execute("SET ROLE application")
        superuser.execute("UPDATE invoicing.cycle_run SET code_version = 'another'")

    assert found(month) == [("cycle_run 1", "history_foreign_writer")]


def test_hashes_do_not_hang_on_where_a_session_is(month: Database) -> None:
    month.execute("SET timezone = 'America/Bogota'; SET datestyle = 'German'; SET extra_float_digits = 0")
    month.execute("UPDATE invoicing.tenant SET name = 'Bogotá', updated_at = now() WHERE code = 'A'")
    month.execute("INSERT INTO invoicing.audit_event (actor, action, subject) VALUES ('a', 'b', 'c')")
    month.execute("RESET ALL")
    month.execute("SET timezone = 'UTC'")
    history.seal(month)

    assert found(month) == []


def test_an_entry_that_follows_its_row_breaks_the_chain(month: Database) -> None:
    """Whoever changes a row and its entry's hash has the chain against them."""
    with above_the_rules(month) as superuser:
        superuser.execute("UPDATE invoicing.audit_event SET actor = 'nobody' WHERE id = 1")
        superuser.execute(
            "UPDATE invoicing.history_entry SET sha256 = (SELECT sha256(convert_to(to_jsonb(t)::text, 'UTF8'))"
            " FROM invoicing.audit_event t WHERE id = 1) WHERE source = 'audit_event' AND key = '1'"
        )
        entry = superuser.execute(
            "SELECT id FROM invoicing.history_entry WHERE source = 'audit_event' AND key = '1'"
        )
        id_ = entry.fetchone()["id"]  # type: ignore[index]

    assert found(month) == [(f"history_entry {id_}", "history_entry_altered")]


def test_entries_that_are_gone_or_come_in_between_are_named(month: Database) -> None:
    with above_the_rules(month) as superuser:
        superuser.execute("DELETE FROM invoicing.history_entry WHERE id = 5")
        superuser.execute("DELETE FROM invoicing.history_entry WHERE id = 7")
        superuser.execute("DELETE FROM invoicing.history_link WHERE entry_id = 9")

    assert [each for each in found(month) if each[0].startswith("history_entry")] == [
        ("history_entry 5", "history_entry_missing"),
        ("history_entry 7", "history_entry_missing"),
        ("history_entry 9", "history_entry_between"),
        ("history_entry 10", "history_entry_altered"),
    ]


def test_a_chain_whose_end_was_cut_off_is_shorter_than_its_seals(month: Database) -> None:
    with above_the_rules(month) as superuser:
        last = history.head(month).entry
        superuser.execute("DELETE FROM invoicing.history_link WHERE entry_id > %s", [last - 4])
        superuser.execute("DELETE FROM invoicing.history_entry WHERE id > %s", [last - 4])

    assert ("history_seal 1", "history_seal_differs") in found(month)


def test_a_chain_that_was_made_anew_does_not_have_the_head_that_was_printed(month: Database) -> None:
    """What the database alone cannot show: heads are printed elsewhere for this."""
    printed = history.head(month)
    with above_the_rules(month) as superuser:
        superuser.execute("UPDATE invoicing.audit_event SET actor = 'nobody' WHERE id = 1")
        superuser.execute(
            "UPDATE invoicing.history_entry SET sha256 = (SELECT sha256(convert_to(to_jsonb(t)::text, 'UTF8'))"
            " FROM invoicing.audit_event t WHERE id = 1) WHERE source = 'audit_event' AND key = '1'"
        )
        superuser.execute("DELETE FROM invoicing.history_link")
        superuser.execute("DELETE FROM invoicing.history_seal")
    history.seal(month)

    assert found(month) == []
    assert history.link_of(month, printed.entry) != printed.sha256


def test_a_table_that_is_not_hashed_any_more_is_named(month: Database) -> None:
    with tampering(month) as owner:
        owner.execute("ALTER TABLE invoicing.invoice DISABLE TRIGGER invoice_history_changed")

    assert found(month) == [("invoice", "history_guard_off")]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("history_entry", "key"),
        ("history_link", "entry_id"),
        ("history_seal", "head"),
        ("history_shape", "source"),
    ],
)
def test_nobody_rewrites_the_history_itself(month: Database, table: str, column: str) -> None:
    for act in (
        f"DELETE FROM invoicing.{table}",
        f"TRUNCATE invoicing.{table}",
        f"UPDATE invoicing.{table} SET {column} = {column}",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            month.execute(act.encode())
        with tampering(month) as owner, pytest.raises(psycopg.errors.IntegrityError):
            owner.execute(act.encode())
    assert found(month) == []


def test_what_is_not_committed_when_a_seal_is_made_is_chained_by_a_later_one(
    month: Database, dsn: str
) -> None:
    """Ids are given before they are committed: a seal that passed one by could never chain it."""
    with connect(dsn) as late, connect(dsn) as other:
        with late.transaction():
            late.execute("UPDATE invoicing.tenant SET name = 'Late' WHERE code = 'A'")
            other.execute("UPDATE invoicing.tenant SET name = 'Other' WHERE code = 'B'")
            assert history.seal(month, patience_seconds=0.4).unsealed == 1  # that of the other
        history.seal(late)

    assert found(month) == []
    assert history.head(month).unsealed == 0


def test_a_seal_waits_for_nobody_for_long_and_nobody_for_it(month: Database, dsn: str) -> None:
    with connect(dsn) as long, connect(dsn) as other, long.transaction():
        long.execute("UPDATE invoicing.tenant SET name = 'Long' WHERE code = 'A'")
        sealing = threading.Thread(target=history.seal, args=(month,), kwargs={"patience_seconds": 1.0})
        sealing.start()
        slowest = 0.0
        for _ in range(20):
            begun = time.monotonic()
            other.execute("UPDATE invoicing.tenant SET name = 'Other' WHERE code = 'B'")
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.03)
        sealing.join()
    assert slowest < 1.0


def test_a_column_that_comes_later_does_not_change_what_was_written(server: Server, tmp_path: Path) -> None:
    for path in MIGRATIONS.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "9999_wider.sql").write_text(
        "ALTER TABLE invoicing.audit_event ADD COLUMN shoe_size integer NOT NULL DEFAULT 38;"
    )
    with server.fresh_copy() as dsn, connect(dsn) as db:
        agency = Agency(db)
        agency.set(auto_send=True, from_email="a@b.example")
        history.seal(db)
        migrate(as_owner(dsn), tmp_path, runtime="application")
        agency.set(auto_send=False)
        history.seal(db)

        assert found(db) == []
        with above_the_rules(db) as superuser:
            superuser.execute("UPDATE invoicing.audit_event SET actor = 'nobody'")
        assert [where for where, _ in found(db)] == ["audit_event 1", "audit_event 2"]
