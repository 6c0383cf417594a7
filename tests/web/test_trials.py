"""Test messages: to whom, how often, and that each is written down before it leaves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from invoicing.db.connection import Database, connect
from invoicing.domain.errors import InputError, LimitReachedError
from invoicing.domain.settings import Settings
from invoicing.mail.conversation import BoundedSMTP
from invoicing.mail.transmission import Outcome, Relay
from invoicing.rendering.mail import MailContent
from invoicing.rendering.templates import load_shipped
from invoicing.services.agency.settings import change_settings
from invoicing.services.agency.templates import current_template
from invoicing.services.delivery import trial
from invoicing.services.delivery.trial import MOST_AN_HOUR, Sender, Trial, allowed_recipients, check_recipient
from invoicing.services.views.trials import show_trials
from invoicing.web.door.duties import READING, Duty
from invoicing.web.door.visitor import Visitor
from support.database import tampering
from support.month import Inbox, open_inbox
from support.project import free_port
from support.visiting import App, Browser, CookieGate, open_app
from support.waiting import wait_until

HERE = "/templates/default"
ANA = Visitor("ana", "ana", frozenset(Duty), email="ana@agencia.example")
LUIS = Visitor("luis", "luis", READING)
DIANA = Visitor("diana", "diana", frozenset({Duty.READ_AMOUNTS, Duty.CHANGE_SETTINGS}))
SETTINGS = {
    "from_email": "facturas@agencia.example",
    "agency_name": "Agencia",
    "test_domains": "prueba.example",
}
CONTENT = MailContent("Factura", "Hola\n", "<p>Hola</p>")


@pytest.fixture
def posted(dsn: str, db: Database, tmp_path: Path) -> Iterator[tuple[Inbox, App]]:
    change_settings(db, dict(SETTINGS), actor="test")
    current_template(db, "default")
    with (
        open_inbox() as (inbox, connect_relay),
        open_app(dsn, tmp_path, open_relay=connect_relay, gate=CookieGate(ANA, LUIS, DIANA)) as app,
    ):
        yield inbox, app


def order(db: Database, to: str = "x@prueba.example", user: str = "ana") -> Trial:
    version = current_template(db, "default")
    settings = Settings(**SETTINGS)
    return Trial(version.template, version.id, to, Sender(user, user, f"{user}@agencia.example"), settings)


def ask(dsn: str, db: Database, relay: Any, **given: Any) -> Outcome:
    return trial.send_trial(lambda: connect(dsn), relay, order(db, **given), CONTENT, {}, sender=None)


def rows(db: Database) -> list[dict[str, Any]]:
    return db.execute("SELECT * FROM invoicing.trial_message ORDER BY id").fetchall()


def use_up(db: Database, user: str = "ana", count: int = MOST_AN_HOUR) -> None:
    """Tests of the hour before: only the owner writes when they were."""
    with tampering(db) as owner:
        _use_up(owner, user, count)


def _use_up(owner: Database, user: str, count: int) -> None:
    owner.execute(
        "INSERT INTO invoicing.trial_message (user_id, actor, to_address, template_version_id, parts_sha256,"
        " message_id, asked_at) SELECT %s, 'x', 'x@y.example', id, repeat('0', 64), %s || n || clock_timestamp(),"
        " now() - make_interval(mins => 59 - n) FROM invoicing.template_version, generate_series(1, %s) AS n",
        [user, user, count],
    )


def test_a_test_is_written_down_before_the_relay_is_asked(dsn: str, db: Database):
    seen: list[dict[str, Any]] = []

    class Watching:
        def transmit(self, *_: Any, **__: Any) -> Outcome:
            with connect(dsn) as other:
                seen.extend(rows(other))
            raise KeyboardInterrupt

    @contextmanager
    def relay() -> Iterator[Any]:
        yield Watching()

    with pytest.raises(KeyboardInterrupt):
        ask(dsn, db, relay)

    (row,) = seen
    assert (row["user_id"], row["to_address"], row["outcome"]) == ("ana", "x@prueba.example", None)
    assert row["template_version_id"] == current_template(db, "default").id
    (shown,) = show_trials(db, "default", user_id="ana").latest
    assert shown.outcome == "unknown"


def test_who_may_not_read_personal_data_gets_no_test_with_a_real_tenants_documents(
    posted: tuple[Inbox, App], db: Database
):
    """Neither by the page nor by the JSON API; one with sample data they get."""
    inbox, app = posted
    diana = Browser(app.parent, DIANA, "en")
    order = {"to": "x@prueba.example"}
    answers = [
        diana.ask("POST", f"{HERE}/test", {**order, "tenant": "T00001"}),
        diana.submit(f"{HERE}/test", {**order, "tenant": "T00001", "seen_version": "1"}),
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].json()["code"] == "may_not_read"
    assert (inbox.messages, rows(db)) == ([], [])
    assert diana.ask("POST", f"{HERE}/test", order).status_code == 200
    assert "x@prueba.example" not in diana.see(HERE).text


def test_what_nobody_lived_to_learn_is_shown_as_unknown(posted: tuple[Inbox, App], db: Database):
    _, app = posted
    use_up(db, count=1)

    page = app.as_editor("es").see(HERE).text

    assert "No se sabe" in page
    assert "Pruebas enviadas: 1 · usted, en la última hora: 1 de 6" in page
    assert app.as_editor().ask("GET", "/templates/default/tests").json()[0]["outcome"] == "unknown"
    assert "x@y.example" not in app.as_viewer("es").see(HERE).text


def test_a_test_may_go_out_while_sending_is_off_and_is_counted(posted: tuple[Inbox, App], db: Database):
    inbox, app = posted
    editor = app.as_editor("en")

    page = editor.submit(f"{HERE}/test", {"to": "x@prueba.example", "seen_version": "1"})
    program = editor.ask("POST", "/templates/default/test", {"to": "ANA@Agencia.example"})
    refused = editor.ask("POST", "/templates/default/test", {"to": "rechazo@prueba.example"})

    assert "Test sent to x@prueba.example" in page.text
    assert "Tests sent: 1 · you, within the hour: 1 of 6" in page.text
    assert (program.status_code, program.json()["verdict"]) == (200, "accepted")
    assert (refused.status_code, refused.json()["code"]) == (422, "trial_not_sent")
    assert len(inbox.messages) == 2
    assert [(row["outcome"], row["code"]) for row in rows(db)] == [
        ("accepted", 250),
        ("accepted", 250),
        ("refused", 550),
    ]


@pytest.mark.parametrize(
    ("own", "domains", "to", "code"),
    [
        ("ana@agencia.example", "", "ana@agencia.example", None),
        ("ana@agencia.example", "", "Ana@AGENCIA.example", None),
        ("ana@agencia.example", "", "beto@agencia.example", "trial_address_foreign"),
        ("", "agencia.example", "beto@agencia.example", None),
        ("", "agencia.example, peña.example", "beto@xn--pea-8ma.example", None),
        ("", "agencia.example", "beto@sub.agencia.example", "trial_address_foreign"),
        ("", "agencia.example", "beto@agencia.example.evil.example", "trial_address_foreign"),
        ("", "agencia.example", "agencia.example@evil.example", "trial_address_foreign"),
        ("", "", "beto@agencia.example", "trial_nowhere_allowed"),
        ("no address", "", "no address", "trial_address_invalid"),
        ("admin", "", "beto@agencia.example", "trial_nowhere_allowed"),
        ("ana@agencia.example", "", "", "trial_without_address"),
    ],
)
def test_a_test_goes_to_ones_own_address_or_an_allowed_domain(
    own: str, domains: str, to: str, code: str | None
):
    settings = Settings(test_domains=domains)
    asked = Trial(load_shipped(), 1, to, Sender("1", "ana", own), settings)

    if code is None:
        check_recipient(asked)
    else:
        with pytest.raises(InputError) as refused:
            check_recipient(asked)
        assert refused.value.code == code
    assert allowed_recipients(own, settings).domains == tuple(filter(None, domains.split(", ")))


def test_an_address_that_is_not_allowed_gets_nothing_and_is_not_written_down(
    posted: tuple[Inbox, App], db: Database
):
    inbox, app = posted
    editor = app.as_editor("en")

    page = editor.submit(f"{HERE}/test", {"to": "tenant@correo.example", "mail_txt": "BORRADOR"})
    program = editor.ask("POST", "/templates/default/test", {"to": "tenant@correo.example"})

    assert page.status_code == program.status_code == 422
    assert 'id="to-error"' in page.text
    assert "BORRADOR" in page.text
    assert "only to ana@agencia.example, @prueba.example" in page.text
    assert program.json()["code"] == "trial_address_foreign"
    assert program.json()["errors"][0]["field"] == "to"
    assert (inbox.messages, rows(db)) == ([], [])


def test_a_person_has_six_tests_an_hour_and_others_have_theirs(posted: tuple[Inbox, App], db: Database):
    inbox, app = posted
    use_up(db)
    editor = app.as_editor("en")

    page = editor.submit(f"{HERE}/test", {"to": "x@prueba.example", "mail_txt": "BORRADOR"})
    program = editor.ask("POST", "/templates/default/test", {"to": "x@prueba.example"})

    assert page.status_code == program.status_code == 429
    # The oldest of the six is 58 minutes old.
    assert 60 < int(page.headers["retry-after"]) <= 120
    assert 60 < int(program.headers["retry-after"]) <= 120
    assert program.json()["code"] == "trials_used_up"
    assert "one person may send 6 tests an hour: wait 2 min" in page.text
    assert "BORRADOR" in page.text
    assert inbox.messages == []
    trial.check_room(db, Sender("beto", "beto", ""))


def test_two_at_once_do_not_both_take_the_last_test_of_the_hour(dsn: str, db: Database):
    current_template(db, "default")
    use_up(db, count=MOST_AN_HOUR - 1)
    by = Sender("ana", "ana", "")
    told: list[str] = []

    def second() -> None:
        with connect(dsn) as own, own.transaction():
            try:
                trial.check_room(own, by)
            except LimitReachedError as error:
                told.append(error.code)

    thread = threading.Thread(target=second)
    with connect(dsn) as first, first.transaction():
        trial.check_room(first, by)
        thread.start()
        wait_until(lambda: waiting_for_a_lock(db), "the second waits for the first", timeout_seconds=10)
        use_up(first, count=1)
    thread.join()

    assert told == ["trials_used_up"]


def waiting_for_a_lock(db: Database) -> bool:
    row = db.execute(
        "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    ).fetchone()
    assert row is not None
    return bool(row["n"])


def test_no_relay_is_an_outcome_too(posted: tuple[Inbox, App], dsn: str, db: Database, tmp_path: Path):
    port = free_port()

    def client() -> BoundedSMTP:
        return BoundedSMTP("127.0.0.1", port, timeout=1, setup_timeout_seconds=1)

    def nobody() -> Relay:
        return Relay(client, host="127.0.0.1", port=port, messages_per_connection=1)

    with open_app(dsn, tmp_path, open_relay=nobody, gate=CookieGate(ANA)) as app:
        answer = app.as_editor("en").submit(f"{HERE}/test", {"to": "x@prueba.example"})

    assert answer.status_code == 503
    assert "The test was not sent" in answer.text
    assert [row["outcome"] for row in rows(db)] == ["not_sent"]


def test_invoices_too_large_to_be_mailed_are_not(dsn: str, db: Database):
    pdfs = {"FV-1.pdf": bytes(trial.LARGEST_ATTACHMENTS_BYTES + 1)}
    with pytest.raises(InputError, match="larger than 10 MB"):
        trial.send_trial(lambda: connect(dsn), lambda: None, order(db), CONTENT, pdfs, sender=None)  # type: ignore[arg-type, return-value]
    assert rows(db) == []


@pytest.mark.parametrize(
    "act",
    [
        "DELETE FROM invoicing.trial_message",
        "TRUNCATE invoicing.trial_message",
        "UPDATE invoicing.trial_message SET outcome = 'refused', ended_at = now(), actor = 'y' WHERE code IS NULL",
        "UPDATE invoicing.trial_message SET outcome = 'refused', ended_at = now(), asked_at = now() WHERE code IS NULL",
        "UPDATE invoicing.trial_message SET outcome = 'refused' WHERE outcome IS NOT NULL",
        "UPDATE invoicing.trial_message SET outcome = NULL, ended_at = NULL WHERE outcome IS NOT NULL",
    ],
)
def test_what_was_written_down_stays(db: Database, owner: Database, act: str):
    current_template(db, "default")
    use_up(db, count=2)
    db.execute(
        "UPDATE invoicing.trial_message SET outcome = 'accepted', code = 250, ended_at = now() WHERE id ="
        " (SELECT min(id) FROM invoicing.trial_message)"
    )

    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        owner.execute(act)  # type: ignore[arg-type]
    assert [row["outcome"] for row in rows(db)] == ["accepted", None]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Agencia.example;@peña.example  agencia.example", "agencia.example, peña.example"),
        ("", ""),
        (" , ", ""),
        ("agencia", None),
        ("*.agencia.example", None),
        ("a@agencia.example", None),
        ("agencia.example\nx", None),
    ],
)
def test_domains_are_domains(typed: str, kept: str | None):
    if kept is None:
        with pytest.raises(InputError, match="test_domains="):
            Settings().changed({"test_domains": typed})
    else:
        assert Settings().changed({"test_domains": typed}).test_domains == kept
