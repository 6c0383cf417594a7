"""What somebody could do who got hold of the application's login: whatever they try, what happened is kept.

Each act is tried as the application's role on a month that was billed and sent. The guards are tried as the owner, too:
the grants would hide that one of them is missing.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from invoicing.db import grants
from invoicing.db.connection import Database, connect
from invoicing.db.migrate import migrate, migrate_deployment
from invoicing.domain.correction import LineAmount
from invoicing.domain.errors import InputError, WorkFailedError
from invoicing.services.delivery import corrections
from support.agency import Agency
from support.database import OWNER, RUNTIME, Server, airflow_connection, as_owner, as_superuser

FV_1 = "(SELECT id FROM invoicing.invoice WHERE number = 'FV-1')"
VOID = "(SELECT id FROM invoicing.invoice WHERE state = 'void')"
LINE = "INSERT INTO invoicing.invoice_line (invoice_id, position, concept, description, amount, tax_rate, tax) VALUES"
VERDICT = "UPDATE invoicing.delivery_attempt SET verdict"
ADD_ATTEMPT = "INSERT INTO invoicing.delivery_attempt (delivery_id, claim_token, claimed_by, host"
OF = "(SELECT d.id FROM invoicing.delivery d JOIN invoicing.tenant t ON t.id = d.tenant_id WHERE t.code = '{}')"
SENT, DOUBTED, REFUSED, PENDING, CLAIMED = (OF.format(code) for code in "ABCDE")

# What no grant may be needed to refuse.
AGAINST_GUARDS = {
    "empty the events": "TRUNCATE invoicing.delivery_event",
    "empty the ledger": "TRUNCATE invoicing.invoice CASCADE",
    "empty it from the tenants down": "TRUNCATE invoicing.tenant CASCADE",
    "empty the audit": "TRUNCATE invoicing.audit_event",
    "empty the decisions": "TRUNCATE invoicing.decision",
    "empty the attempts": "TRUNCATE invoicing.delivery_attempt",
    "empty the series": "TRUNCATE invoicing.invoice_series CASCADE",
    "empty the seals": "TRUNCATE invoicing.sealed_invoice",
    "delete events": "DELETE FROM invoicing.delivery_event",
    "delete the audit": "DELETE FROM invoicing.audit_event",
    "delete a decision": "DELETE FROM invoicing.decision",
    "delete an attempt": "DELETE FROM invoicing.delivery_attempt",
    "delete a delivery": "DELETE FROM invoicing.delivery",
    "delete lines": "DELETE FROM invoicing.invoice_line",
    "delete an invoice": "DELETE FROM invoicing.invoice",
    "delete a series": "DELETE FROM invoicing.invoice_series",
    "delete who corrected": "DELETE FROM invoicing.invoice_correction",
    "alter why": "UPDATE invoicing.invoice_correction SET reason = 'x'",
    "empty the corrections": "TRUNCATE invoicing.invoice_correction",
    "void what was sent": "UPDATE invoicing.invoice SET state = 'void' WHERE number = 'FV-1'",
    "void what is in doubt": "UPDATE invoicing.invoice SET state = 'void' WHERE number = 'FV-2'",
    "void what is claimed": "UPDATE invoicing.invoice SET state = 'void' WHERE number = 'FV-5'",
    "credit by word alone": "UPDATE invoicing.invoice SET state = 'credited' WHERE number = 'FV-1'",
    "void a credit note": "UPDATE invoicing.invoice SET state = 'void' WHERE kind = 'credit_note'",
    "uncredit": "UPDATE invoicing.invoice SET state = 'issued' WHERE state = 'partly_credited'",
    "more numbers than the range has": "UPDATE invoicing.invoice_series SET last_serial = 100 WHERE prefix = 'unused'",
    "another range": "UPDATE invoicing.series_range SET last_serial = 1000",
    "forget a range": "DELETE FROM invoicing.series_range",
    "empty the ranges": "TRUNCATE invoicing.series_range",
    "break a seal": "DELETE FROM invoicing.sealed_invoice",
    "alter events": "UPDATE invoicing.delivery_event SET actor = 'somebody else'",
    "alter the audit": "UPDATE invoicing.audit_event SET actor = 'somebody else'",
    "alter a decision's reason": "UPDATE invoicing.decision SET reason = 'x', superseded_at = now() WHERE id = 1",
    "alter a decision's trace": "UPDATE invoicing.decision SET trace = '[]', superseded_at = now() WHERE id = 1",
    "bring a decision back": "UPDATE invoicing.decision SET superseded_at = NULL WHERE superseded_at IS NOT NULL",
    "date a decision's end anew": "UPDATE invoicing.decision SET superseded_at = now() WHERE superseded_at IS NOT NULL",
    "alter an amount": "UPDATE invoicing.invoice SET subtotal = subtotal + 1, total = total + 1 WHERE id = 1",
    "bring a void invoice back": "UPDATE invoicing.invoice SET state = 'issued' WHERE state = 'void'",
    "alter a line": "UPDATE invoicing.invoice_line SET amount = 1",
    "alter a document's checksum": "UPDATE invoicing.invoice_document SET sha256 = repeat('0', 64)",
    "alter an old template": "UPDATE invoicing.template_version SET parts = '{}'",
    "add a line of nothing": f"{LINE} ({FV_1}, 9, 'other', 'x', 0, 0, 0)",
    "add lines that cancel out": f"{LINE} ({FV_1}, 8, 'a', 'x', 5, 0, 0), ({FV_1}, 9, 'b', 'x', -5, 0, 0)",
    "add a line to a void invoice": f"{LINE} ({VOID}, 9, 'o', 'x', 0, 0, 0)",
    "add a line while voiding": "BEGIN; UPDATE invoicing.invoice SET state = 'void' WHERE number = 'FV-4'; "
    f"{LINE} ((SELECT id FROM invoicing.invoice WHERE number = 'FV-4'), 9, 'o', 'x', 0, 0, 0); COMMIT",
    "add a withholding": f"INSERT INTO invoicing.invoice_withholding VALUES ({FV_1}, 'reteica', 0.01, 0, 0)",
    "set a series back": "UPDATE invoicing.invoice_series SET last_serial = 0",
    "rename a series": "UPDATE invoicing.invoice_series SET prefix = 'X-' WHERE prefix = 'unused'",
    "claim an attempt nobody made": f"{ADD_ATTEMPT}) VALUES ({PENDING}, 1, 'x', 'x')",
    "claim beside the one that holds it": f"{ADD_ATTEMPT}) VALUES ({CLAIMED}, 2, 'x', 'x')",
    "forge an accepted attempt": f"{ADD_ATTEMPT}, marked_at, ended_at, verdict, phase, code, reply)"
    f" VALUES ({PENDING}, 1, 'x', 'x', now(), now(), 'accepted', 'acceptance', 250, '250 Ok')",
    "an accepted attempt in a claim": "UPDATE invoicing.delivery SET state = 'claimed', claim_token = 1,"
    f" claim_until = now() WHERE id = {PENDING}; {ADD_ATTEMPT}, marked_at, verdict)"
    f" VALUES ({PENDING}, 1, 'x', 'x', now(), 'accepted')",
    "accept what was not marked": f"{VERDICT} = 'accepted' WHERE delivery_id = {CLAIMED}",
    "accept what was refused": f"{VERDICT} = 'accepted' WHERE delivery_id = {REFUSED}",
    "refuse what was accepted": f"{VERDICT} = 'not_sent' WHERE delivery_id = {SENT}",
    "forget an acceptance": f"{VERDICT} = NULL WHERE delivery_id = {SENT}",
    "a reply that nobody gave": f"UPDATE invoicing.delivery_attempt SET reply = '250 other' WHERE delivery_id = {SENT}",
    "mark a claim": f"UPDATE invoicing.delivery_attempt SET marked_at = now() WHERE delivery_id = {CLAIMED}",
    "unmark a doubt": f"UPDATE invoicing.delivery_attempt SET marked_at = NULL WHERE delivery_id = {DOUBTED}",
    "another payload": f"UPDATE invoicing.delivery_attempt SET payload_sha256 = 'x' WHERE delivery_id = {SENT}",
    "another worker's attempt": "UPDATE invoicing.delivery_attempt SET claimed_by = 'somebody else'",
    "sent, by word alone": f"UPDATE invoicing.delivery SET state = 'sent' WHERE id = {PENDING}",
    "unsend": f"UPDATE invoicing.delivery SET state = 'pending' WHERE id = {SENT}",
    "another message": "UPDATE invoicing.delivery SET message_id = 'x'",
    "take an invoice out of its delivery": "DELETE FROM invoicing.delivery_invoice",
}  # fmt: skip

# What only grants refuse: the owner may.
AGAINST_GRANTS = {
    "write an event": "INSERT INTO invoicing.delivery_event (delivery_id, to_state, claim_token, actor)"
    f" VALUES ({SENT}, 'sent', 1, 'x')",
    "backdate the audit": "INSERT INTO invoicing.audit_event (at, actor, action, subject)"
    " VALUES ('2020-01-01', 'x', 'x', 'x')",
    "seal an invoice": f"INSERT INTO invoicing.sealed_invoice VALUES ({FV_1})",
    "a delivery that begins as sent": "INSERT INTO invoicing.delivery (tenant_id, period, purpose, state, message_id,"
    " to_addresses, language, settings_version_id, template_version_id, actor)"
    " SELECT id, '2026-11', 'initial', 'sent', 'x', '{x@y.co}', 'es', 1, 1, 'x' FROM invoicing.tenant LIMIT 1",
    "set ids back": "SELECT setval('invoicing.invoice_id_seq', 1)",
    "delete a tenant": "DELETE FROM invoicing.tenant",
    "another tenant's code": "UPDATE invoicing.tenant SET code = 'X' WHERE code = 'A'",
    "delete a run": "DELETE FROM invoicing.cycle_run",
    "delete a month": "DELETE FROM invoicing.billing_cycle",
    "forget a migration": "DELETE FROM invoicing.schema_migration",
    "disable a trigger": "ALTER TABLE invoicing.delivery DISABLE TRIGGER delivery_is_guarded",
    "disable all triggers": "ALTER TABLE invoicing.invoice DISABLE TRIGGER ALL",
    "drop a trigger": "DROP TRIGGER invoice_is_kept ON invoicing.invoice",
    "add a trigger": "CREATE FUNCTION pg_temp.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    " CREATE TRIGGER skip BEFORE INSERT ON invoicing.audit_event FOR EACH ROW EXECUTE FUNCTION pg_temp.skip()",
    "add a rule": "CREATE RULE skip AS ON INSERT TO invoicing.audit_event DO INSTEAD NOTHING",
    "replace a guard": "CREATE OR REPLACE FUNCTION invoicing.refuse_change() RETURNS trigger LANGUAGE plpgsql"
    " AS 'BEGIN RETURN NULL; END'",
    "drop a guard": "DROP FUNCTION invoicing.refuse_change() CASCADE",
    "loosen a guard": "ALTER FUNCTION invoicing.check_invoice_sums() RESET search_path",
    "drop a constraint": "ALTER TABLE invoicing.invoice DROP CONSTRAINT invoice_total_adds_up",
    "drop an index": "DROP INDEX invoicing.delivery_invoice_one_live_initial",
    "drop a table": "DROP TABLE invoicing.delivery_event",
    "drop the schema": "DROP SCHEMA invoicing CASCADE",
    "drop what the owner owns": f"DROP OWNED BY {OWNER} CASCADE",
    "own a table": f"ALTER TABLE invoicing.invoice OWNER TO {RUNTIME}",
    "own everything": f"REASSIGN OWNED BY {OWNER} TO {RUNTIME}",
    "a function of one's own in the schema": "CREATE FUNCTION invoicing.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a table of one's own in the schema": "CREATE TABLE invoicing.mine (n int)",
    "a function in public": "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a schema": "CREATE SCHEMA mine",
    "an extension": "CREATE EXTENSION btree_gin",
    "no triggers in this session": "SET session_replication_role = replica",
    "be the owner": f"SET ROLE {OWNER}",
    "be the superuser": "SET SESSION AUTHORIZATION postgres",
    "become a member": f"GRANT {OWNER} TO {RUNTIME}",
    "become a superuser": f"ALTER ROLE {RUNTIME} SUPERUSER",
    "the owner's password": f"ALTER ROLE {OWNER} PASSWORD 'mine'",
    "a role": "CREATE ROLE mine SUPERUSER",
    "run a program": "COPY invoicing.tenant TO PROGRAM 'cat > /dev/null'",
    "write a file": "COPY invoicing.tenant TO '/tmp/tenants'",
    "read a file": "SELECT pg_read_file('PG_VERSION')",
    "a server's setting": "ALTER SYSTEM SET fsync = off",
    "the database's setting": "DO $$ BEGIN"
    " EXECUTE format('ALTER DATABASE %I SET search_path = mine', current_database()); END $$",
    "end others' sessions": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' LIMIT 1",
    "read passwords": "SELECT rolpassword FROM pg_authid",
    # Names that a guard uses, put where the session would find them first.
    "blind a guard": "CREATE TEMP TABLE sealed_invoice (invoice_id bigint); CREATE DOMAIN pg_temp.record AS int;"
    f" CREATE DOMAIN pg_temp.text AS int; SET search_path = pg_temp, pg_catalog;"
    f" {LINE} ({FV_1}, 9, 'o', 'x', 0, 0, 0)",
}  # fmt: skip


@pytest.fixture(scope="module")
def month(server: Server) -> Iterator[str]:
    """Conninfo of a month: A has its message, B's is in doubt, C's refused, D's waits, E's is claimed, F's is void."""
    with server.fresh_copy() as dsn, connect(dsn) as db:
        agency = Agency(db)
        agency.set(auto_send=True, from_email="facturas@agencia.example")
        for code in "ABCDEF":
            agency.add_tenant(code)
        agency.run()
        agency.put("F", "cancelled")
        db.execute("UPDATE invoicing.invoice SET state = 'void' WHERE number = 'FV-6'")
        db.execute("UPDATE invoicing.decision SET superseded_at = now() WHERE tenant_id = 6")
        agency.put("A", "claimed", "transmitting")
        verdict = f"{VERDICT} = %s, phase = %s, code = %s, reply = %s, ended_at = now()"
        db.execute(verdict.encode(), ["accepted", "acceptance", 250, "250 2.0.0 Ok"])
        agency.put("A", "sent")
        agency.put("B", "claimed", "transmitting", "in_doubt")
        agency.put("C", "claimed")
        db.execute(
            f"{verdict} WHERE delivery_id = {REFUSED}".encode(),
            ["refused_permanently", "envelope", 550, "550 no such user"],
        )
        agency.put("C", "failed")
        agency.put("E", "claimed")
        db.execute(
            "INSERT INTO invoicing.invoice_document (invoice_id, key, sha256, size_bytes, template_version_id)"
            " SELECT id, number, repeat('a', 64), 1, (SELECT max(id) FROM invoicing.template_version)"
            " FROM invoicing.invoice"
        )
        db.execute("INSERT INTO invoicing.invoice_series (prefix, last_serial) VALUES ('unused', 0)")
        db.execute(
            "INSERT INTO invoicing.series_range (prefix, last_serial, actor) VALUES ('unused', 99, 'Ana')"
        )
        corrections.credit(db, "FV-1", [LineAmount(1, Decimal(1000))], reason="a day", actor="Ana")
        yield dsn


def rows_of(observer: psycopg.Connection) -> dict[str, Any]:
    """Each table's rows, as a checksum."""
    tables = observer.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'invoicing'::regnamespace AND relkind = 'r'"
    ).fetchall()
    rows = "SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM invoicing.{} AS t"
    return {
        "next invoice": observer.execute("SELECT last_value FROM invoicing.invoice_id_seq").fetchall(),
        **{name: observer.execute(rows.format(name).encode()).fetchone() for (name,) in tables},
    }


GUARDS = """
SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger ORDER BY 1, 2;
SELECT proname, prosrc, proowner, prosecdef, proconfig, proacl::text FROM pg_proc
    WHERE pronamespace IN ('invoicing'::regnamespace, 'public'::regnamespace) ORDER BY 1, 2;
SELECT relname, relowner, relacl::text, relhasrules FROM pg_class
    WHERE relnamespace IN ('invoicing'::regnamespace, 'public'::regnamespace) ORDER BY 1;
SELECT conname FROM pg_constraint ORDER BY 1;
SELECT nspname, nspowner, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1;
SELECT rolname, rolsuper, rolcreaterole, rolpassword FROM pg_authid ORDER BY 1;
SELECT roleid, member FROM pg_auth_members ORDER BY 1, 2;
SELECT extname FROM pg_extension ORDER BY 1;
SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2
"""


def guards_of(observer: psycopg.Connection) -> list[Any]:
    """Triggers, functions, owners, grants, roles: all that keeps the rows."""
    return [observer.execute(query.encode()).fetchall() for query in GUARDS.split(";")]


def seen(dsn: str) -> list[Any]:
    """The guards of a database of one's own."""
    with psycopg.connect(as_superuser(dsn)) as observer:
        return guards_of(observer)


@pytest.fixture(scope="module")
def observer(month: str) -> Iterator[psycopg.Connection]:
    """Who sees all of the month, whatever its guards and grants are."""
    with psycopg.connect(as_superuser(month), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def untouched(observer: psycopg.Connection) -> tuple[dict[str, Any], list[Any]]:
    """Rows and guards of the month, before anybody tried anything."""
    return rows_of(observer), guards_of(observer)


@pytest.mark.parametrize("act", [*AGAINST_GUARDS, *AGAINST_GRANTS])
def test_what_the_application_may_not_do_is_refused_and_changes_nothing(
    month: str, observer: psycopg.Connection, untouched: tuple[dict[str, Any], list[Any]], act: str
) -> None:
    with (
        connect(month) as hostile,
        pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.IntegrityError)),
    ):
        hostile.execute({**AGAINST_GUARDS, **AGAINST_GRANTS}[act].encode())

    assert (rows_of(observer), guards_of(observer)) == untouched


@pytest.mark.parametrize("act", AGAINST_GUARDS)
def test_a_guard_refuses_the_owner_too(
    month: str, observer: psycopg.Connection, untouched: tuple[dict[str, Any], list[Any]], act: str
) -> None:
    with connect(as_owner(month)) as owner, pytest.raises(psycopg.errors.IntegrityError):
        owner.execute(AGAINST_GUARDS[act].encode())

    assert rows_of(observer) == untouched[0]


def test_no_table_of_what_happened_can_be_emptied(month: str) -> None:
    """By nobody: what may be is imported, found or taken anew, and is named here."""
    with connect(as_owner(month)) as owner:
        guarded = owner.execute(
            "SELECT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgtype & 32 = 32 AND tgenabled = 'O'"
        ).fetchall()
        tables = owner.execute(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'invoicing'::regnamespace"
            " AND relkind = 'r'"
        ).fetchall()

    names = {row["name"].removeprefix("invoicing.") for row in tables}
    assert names - {row["name"].removeprefix("invoicing.") for row in guarded} == {
        "charge", "drifted_invoice", "invoice_count", "lease", "operator_notice", "schema_migration", "tax_rate",
        "tenant", "transmission_slot", "unissued_invoice", "unmade_document",
    }  # fmt: skip


def test_a_line_may_come_late_in_the_transaction_of_its_invoice_and_not_after_it_is_checked(
    db: Database,
) -> None:
    """Savepoints do not matter; what was checked early is sealed early."""
    agency = Agency(db)
    agency.add_tenant("A")
    agency.run()
    copy = (
        "INSERT INTO invoicing.invoice (id, series, serial, origin, reference, tenant_id, settings_version_id, period,"
        " issued_on, due_on, currency, subtotal, tax, withholding, total, tenant_name, tenant_document_type,"
        " tenant_document_number, tenant_city, language, property, property_city, use)"
        " SELECT 70, series, 70, 'single', 'R', tenant_id, settings_version_id, period, issued_on, due_on, currency,"
        " 7, 0, 0, 7, tenant_name, tenant_document_type, tenant_document_number, tenant_city, language, property,"
        " property_city, use FROM invoicing.invoice"
    )
    with db.transaction():
        with db.transaction():
            db.execute(copy.encode())
        db.execute(f"{LINE} (70, 1, 'o', 'x', 3, 0, 0)".encode())
        with db.transaction():
            db.execute(f"{LINE} (70, 2, 'o', 'x', 4, 0, 0)".encode())
        db.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(psycopg.errors.IntegrityError, match="nothing is added"), db.transaction():
            db.execute(f"{LINE} (70, 3, 'o', 'x', 0, 0, 0)".encode())

    count = db.execute("SELECT count(*) AS n FROM invoicing.invoice_line WHERE invoice_id = 70").fetchone()
    assert count == {"n": 2}


def test_a_verdict_that_is_heard_twice_counts_once_and_proof_ends_a_doubt(agency: Agency) -> None:
    agency.add_tenant("A")
    agency.run()
    agency.put("A", "claimed", "transmitting")
    say = (
        "UPDATE invoicing.delivery_attempt SET verdict = %s, phase = 'acceptance', code = NULL, reply = 'x',"
        " ended_at = clock_timestamp() RETURNING ended_at, verdict"
    )
    first = agency.db.execute(say, ["in_doubt"]).fetchone()
    assert agency.db.execute(say, ["in_doubt"]).fetchone() == first
    proof = agency.db.execute(say, ["accepted"]).fetchone()
    assert proof is not None
    assert proof["verdict"] == "accepted"
    assert agency.db.execute(say, ["accepted"]).fetchone() == proof


def test_statistics_of_a_month_are_fresh_though_the_application_owns_no_table(agency: Agency) -> None:
    agency.add_tenant("A", leases=3)
    agency.run()

    row = agency.db.execute(
        "SELECT reltuples FROM pg_class WHERE oid = 'invoicing.invoice_line'::regclass"
    ).fetchone()
    assert row == {"reltuples": 3.0}


# The page of grants


def page() -> str:
    text = Path(grants.__file__).with_suffix(".sql").read_text(encoding="utf-8")
    return re.sub(r"--.*", "", text.partition("-- name: owned_tables")[0])


def test_every_table_is_on_the_page_of_grants(db: Database) -> None:
    named = set(re.findall(r"invoicing\.(\w+)", page()))
    tables = {
        row["relname"]
        for row in db.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'invoicing'::regnamespace AND relkind IN ('r', 'v')"
        )
    }

    assert tables - named == set(), "the application cannot see these"
    functions = {
        row["proname"]
        for row in db.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'invoicing'::regnamespace")
    }
    assert named - tables - functions - {"invoice_id_seq"} == set(), "no such table or function"


def test_the_application_may_delete_only_what_is_found_or_imported_anew(db: Database) -> None:
    rows = db.execute(
        "SELECT relname, privilege FROM pg_class,"
        " unnest(ARRAY['DELETE', 'UPDATE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN']) AS privilege"
        " WHERE relnamespace = 'invoicing'::regnamespace AND relkind IN ('r', 'v')"
        " AND has_table_privilege(current_user, oid, privilege) ORDER BY relname"
    ).fetchall()

    assert [(row["relname"], row["privilege"]) for row in rows] == [
        ("charge", "DELETE"),
        ("drifted_invoice", "DELETE"),
        ("invoice_count", "DELETE"),
        ("tax_rate", "DELETE"),
        ("transmission_slot", "DELETE"),
        ("unissued_invoice", "DELETE"),
        ("unmade_document", "DELETE"),
    ]


def test_what_was_granted_besides_is_taken_back_by_the_next_migration(
    dsn: str, db: Database, owner: Database
) -> None:
    before = seen(dsn)
    owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA invoicing TO {RUNTIME}, PUBLIC".encode())
    owner.execute(f"GRANT ALL ON SCHEMA invoicing TO {RUNTIME}".encode())
    owner.execute(f"GRANT UPDATE (total) ON invoicing.invoice TO {RUNTIME}".encode())
    owner.execute("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA invoicing TO PUBLIC")

    assert migrate(as_owner(dsn), runtime=RUNTIME) == []

    assert seen(dsn) == before
    row = db.execute(
        "SELECT has_column_privilege('invoicing.invoice', 'total', 'UPDATE') AS total,"
        " has_schema_privilege('invoicing', 'CREATE') AS \"create\""
    ).fetchone()
    assert row == {"total": False, "create": False}


def test_every_function_with_its_owners_rights_and_every_guard_looks_in_a_fixed_place(db: Database) -> None:
    rows = db.execute(
        "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'invoicing'::regnamespace"
        " AND (prosecdef OR prorettype = 'trigger'::regtype)"
    ).fetchall()

    assert len(rows) > 10
    assert {
        row["proname"] for row in rows if "search_path=pg_catalog, pg_temp" not in (row["proconfig"] or ())
    } == set()
    definers = db.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'invoicing'::regnamespace AND prosecdef ORDER BY 1"
    ).fetchall()
    assert [row["proname"] for row in definers] == [
        "analyze_month", "check_invoice_sums", "guard_approval_item", "hold_tenants", "keep_history",
        "leave_deliveries", "note_history_horizon", "record_delivery_event", "record_new_deliveries", "seal_history",
    ]  # fmt: skip


# Migrating as the owner


@pytest.fixture
def of_before(server: Server) -> Iterator[str]:
    """Conninfo of a database in which the application owns everything."""
    with server.empty_database() as empty:
        with psycopg.connect(as_superuser(empty), autocommit=True) as superuser:
            name = superuser.info.dbname
            superuser.execute(f"ALTER DATABASE {name} OWNER TO {RUNTIME}".encode())
        dsn = psycopg.conninfo.make_conninfo(empty, user=RUNTIME)
        migrate(dsn)
        yield dsn


def test_a_deployment_is_migrated_as_its_owner(server: Server) -> None:
    with server.empty_database() as empty:
        runtime = psycopg.conninfo.make_conninfo(empty, user=RUNTIME)
        applied = migrate_deployment(airflow_connection(runtime), airflow_connection(empty))
        assert applied
        with connect(runtime) as db:
            Agency(db).set(auto_send=True)
        # Once up to date, nobody has to know the owner's login.
        assert migrate_deployment(airflow_connection(runtime), None) == []


def test_without_an_owner_a_deployment_that_needs_one_is_told_how_to_get_one(
    server: Server, of_before: str
) -> None:
    with server.empty_database() as empty:
        runtime = airflow_connection(psycopg.conninfo.make_conninfo(empty, user=RUNTIME))
        with pytest.raises(InputError, match="set INVOICING_DB_OWNER"):
            migrate_deployment(runtime, None)
    name = psycopg.conninfo.conninfo_to_dict(of_before)["dbname"]
    with pytest.raises(InputError) as told:
        migrate_deployment(airflow_connection(of_before), None)
    assert (
        f"REASSIGN OWNED BY {RUNTIME} TO invoicing_owner; GRANT CONNECT, TEMPORARY ON DATABASE {name}"
        in str(told.value)
    )


def test_an_owner_who_is_the_application_or_is_not_let_in_or_owns_nothing_is_refused(of_before: str) -> None:
    runtime = airflow_connection(of_before)
    with pytest.raises(InputError, match=f"logs in as {RUNTIME}, as the application does"):
        migrate_deployment(runtime, runtime)
    nobody = airflow_connection(psycopg.conninfo.make_conninfo(of_before, user="nobody"))
    with pytest.raises(WorkFailedError, match=r'role "nobody" does not exist.*CREATE ROLE invoicing_owner'):
        migrate_deployment(runtime, nobody)
    with pytest.raises(WorkFailedError, match=f"{OWNER} is to migrate .* but {RUNTIME} owns some of it"):
        migrate_deployment(runtime, airflow_connection(as_owner(of_before)))
