"""What is taken out after a while, by whom, and what never is."""

import datetime
import os
from pathlib import Path

import psycopg
import pytest

from invoicing.db.connection import Database
from invoicing.domain.errors import InputError
from invoicing.services.agency.templates import current_template
from invoicing.services.delivery import retention
from support.agency import Agency

NOW = datetime.datetime.now(datetime.UTC)
OLD = NOW - datetime.timedelta(days=400)
BEFORE = retention.cutoff(NOW, 12)


def put_message(mailbox: Path, name: str, delivery: int | None, at: datetime.datetime = OLD) -> Path:
    mailbox.mkdir(exist_ok=True)
    path = mailbox / f"{name}.eml"
    header = "" if delivery is None else f"X-Invoice-Delivery: {delivery}\n"
    path.write_text(f"Subject: x\n{header}\nHola\n", encoding="utf-8")
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


@pytest.fixture
def tests_and_notices(db: Database, owner: Database) -> Database:
    """One test message and one notice of a year ago, one of each of today, one notice that never left."""
    current_template(db, "default")
    for at in (OLD, NOW):
        owner.execute(
            "INSERT INTO invoicing.trial_message (user_id, actor, to_address, template_version_id, parts_sha256,"
            " message_id, asked_at, outcome, reply, ended_at) SELECT 'ana', 'ana', 'ana@agencia.example', min(id),"
            " repeat('a', 64), %s, %s, 'accepted', '250 ana@agencia.example', %s FROM invoicing.template_version",
            [f"<{at:%Y}@x>", at, at],
        )
        owner.execute(
            "INSERT INTO invoicing.operator_notice (cause, texts, created_at, sent_at)"
            " VALUES ('run_failed', '{\"reason\": \"ana@correo.example\"}', %s, %s)",
            [at, at],
        )
    owner.execute(
        "INSERT INTO invoicing.operator_notice (cause, texts, created_at) VALUES ('run_failed', '{\"a\": \"b\"}', %s)",
        [OLD],
    )
    return db


def test_old_messages_of_settled_deliveries_go_and_no_others(
    agency: Agency, owner: Database, tmp_path: Path
) -> None:
    for code in "AB":
        agency.add_tenant(code)
    agency.run()
    agency.put("A", "claimed", "transmitting", "sent")
    agency.put("B", "claimed", "transmitting", "in_doubt")
    ids = [row["id"] for row in agency.db.execute("SELECT id FROM invoicing.delivery ORDER BY id")]
    mailbox = tmp_path / "mailbox"
    going = [put_message(mailbox, "sent", ids[0]), put_message(mailbox, "notice", None)]
    staying = [
        put_message(mailbox, "doubt", ids[1]),
        put_message(mailbox, "young", ids[0], NOW),
        put_message(mailbox, "foreign", 999),
    ]

    shown = retention.find_purgeable(agency.db, mailbox, BEFORE)
    assert (shown.messages, shown.unsettled) == (2, 2)
    assert all(path.exists() for path in going)

    assert retention.purge(owner, mailbox, BEFORE, actor="ana").messages == 2
    assert [path.exists() for path in going + staying] == [False, False, True, True, True]
    assert retention.purge(owner, mailbox, BEFORE, actor="ana").messages == 0


def test_addresses_of_old_tests_and_words_of_old_notices_go_and_hashes_stay(
    tests_and_notices: Database, owner: Database
) -> None:
    purged = retention.purge(owner, None, BEFORE, actor="ana")
    assert (purged.trial_messages, purged.notices) == (1, 1)
    trials = tests_and_notices.execute("SELECT * FROM invoicing.trial_message ORDER BY id").fetchall()
    assert [(row["to_address"], row["reply"]) for row in trials] == [
        ("", None),
        ("ana@agencia.example", "250 ana@agencia.example"),
    ]
    assert [(row["parts_sha256"], row["outcome"]) for row in trials] == [("a" * 64, "accepted")] * 2
    notices = tests_and_notices.execute(
        "SELECT texts <> '{}' AS kept FROM invoicing.operator_notice ORDER BY id"
    )
    assert [row["kept"] for row in notices] == [False, True, True]
    (event,) = tests_and_notices.execute(
        "SELECT * FROM invoicing.audit_event WHERE action = 'personal_data_purged'"
    ).fetchall()
    assert (event["actor"], event["details"]) == (
        "ana",
        {"messages": 0, "trial_messages": 1, "notices": 1},
    )


def test_the_application_may_purge_nothing(tests_and_notices: Database) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        retention.purge(tests_and_notices, None, BEFORE, actor="ana")
    assert retention.find_purgeable(tests_and_notices, None, BEFORE).trial_messages == 1


@pytest.mark.parametrize(
    "change",
    [
        "SET to_address = 'other@x.example', reply = NULL",
        "SET to_address = '', reply = NULL, actor = 'nobody'",
        "SET to_address = '', reply = NULL, parts_sha256 = repeat('b', 64)",
        "SET to_address = '', reply = 'other'",
    ],
)
def test_the_owner_too_may_only_take_out(tests_and_notices: Database, owner: Database, change: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        owner.execute(f"UPDATE invoicing.trial_message {change}".encode())


def test_what_is_young_is_not_taken_out_by_anybody(tests_and_notices: Database, owner: Database) -> None:
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        owner.execute("UPDATE invoicing.trial_message SET to_address = '', reply = NULL")


@pytest.mark.parametrize("months", [-1, 0, 1, 1201])
def test_last_months_questions_can_still_be_answered(months: int) -> None:
    with pytest.raises(InputError):
        retention.cutoff(NOW, months)
