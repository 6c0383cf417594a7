"""Whatever an agency is like and people correct in its month, its export verifies; what is changed then is named."""

import random
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from invoicing.db.connection import Database, connect
from invoicing.domain.errors import InputError
from invoicing.services.audit import export, history, look_back, verify
from invoicing.services.audit.layout import TABLES
from invoicing.services.delivery import holds
from support.agency import NOVEMBER, Agency
from support.archive import archive_in
from support.database import Server, as_superuser
from support.random_agency import RandomAgency, RandomMonth, months
from support.random_corrections import ACTS, Act, bill, correct, send


def live(db: Database, states: list[RandomMonth], acts: list[Act], put: list[bool]) -> None:
    """The month, with what comes after it."""
    agency = Agency(db)
    random_agency = RandomAgency(agency)
    random_agency.add_taxes()
    bill(agency, states[0], random_agency)
    send(agency, put)
    for act in acts[:3]:
        correct(db, act)
    with suppress(InputError):
        holds.hold(db, "T0", NOVEMBER, reason="at random", actor="test")
    bill(agency, states[1], random_agency)
    for act in acts[3:]:
        correct(db, act)


def tamper_with_files(folder: Path, dice: random.Random, times: int) -> None:
    """One byte of one file, so many times: it is named, and where it was put back all is well."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(times):
        path = dice.choice(files)
        content = path.read_bytes()
        place = dice.randrange(len(content))
        path.write_bytes(
            content[:place] + bytes([content[place] ^ dice.randrange(1, 256)]) + content[place + 1 :]
        )
        differences = verify.verify_folder(folder).differences
        name = path.relative_to(folder).as_posix()
        # A byte of the sums themselves puts the file that they speak of in doubt, or one that there is not.
        assert differences, (name, place)
        assert name == "SHA256SUMS" or any(each.where.startswith(name) for each in differences), (name, place)
        path.write_bytes(content)


# For each type a value that another one becomes.
_CHANGED = {
    "text": "coalesce({column}, '') || 'x'",
    "bigint": "coalesce({column}, 0) + 1",
    "integer": "coalesce({column}, 0) + 1",
    "numeric": "coalesce({column}, 0) + 0.5",
    "boolean": "NOT {column}",
    "date": "coalesce({column}, '2026-01-01') + 1",
    "timestamp with time zone": "coalesce({column}, '2026-01-01') + interval '1 microsecond'",
    "jsonb": "jsonb_build_array({column})",
    "ARRAY": "array_append({column}, 'x')",
}


def tamper_with_rows(db: Database, dice: random.Random, times: int) -> None:
    """One value of one row of any table that counts, by the superuser with all triggers off: named, and undone."""
    with connect(as_superuser(db.info.dsn)) as superuser:
        superuser.execute("SET session_replication_role = replica")
        columns = superuser.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'invoicing' AND table_name = ANY(%s) AND is_generated = 'NEVER'"
            " AND domain_name IS NULL ORDER BY 1, 2",
            [list(TABLES)],
        ).fetchall()
        for _ in range(times):
            column = dice.choice(columns)
            table, key = column["table_name"], TABLES[column["table_name"]]
            if column["column_name"] in key:
                continue
            rows = superuser.execute(
                sql.SQL("SELECT ctid::text AS place, to_jsonb(t) AS line FROM invoicing.{} t").format(
                    sql.Identifier(table)
                )
            ).fetchall()
            if not rows:
                continue
            row = dice.choice(rows)
            # What an index does not let in could not have been written either.
            with suppress(psycopg.errors.UniqueViolation), superuser.transaction(force_rollback=True):
                _drop_checks(superuser, table)
                value = _CHANGED[column["data_type"]].format(column=column["column_name"])
                superuser.execute(
                    f"UPDATE invoicing.{table} SET {column['column_name']} = {value} WHERE ctid = %s::tid".encode(),
                    [row["place"]],
                )
                where = f"{table} {'/'.join(str(row['line'][each]) for each in key)}"
                found = [each.where for each in history.differences(superuser)]
                assert found == [where], (column, found)


def _drop_checks(superuser: Database, table: str) -> None:
    """What a table's constraints would not let in, bytes on the disk may still say."""
    for row in superuser.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('c', 'f')",
        [f"invoicing.{table}"],
    ).fetchall():
        superuser.execute(
            sql.SQL("ALTER TABLE invoicing.{} DROP CONSTRAINT {}").format(
                sql.Identifier(table), sql.Identifier(row["conname"])
            )
        )


def check(
    server: Server, states: list[RandomMonth], acts: list[Act], put: list[bool], seed: int, times: int
) -> None:
    dice = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="inv-audit-"))
    try:
        with server.fresh_copy() as dsn, connect(dsn) as db:
            live(db, states, acts, put)
            archive = archive_in(folder / "archive")
            if db.execute("SELECT FROM invoicing.invoice").fetchone() is None:
                return
            export.export_period(db, archive, NOVEMBER, folder / "export")
            found = verify.verify_folder(folder / "export")
            assert found.differences == [], [f"{each.where}: {each.what}" for each in found.differences]
            assert look_back.look_back(db, archive).differences == []
            assert list(look_back.compare_head(db, found)) == []
            tamper_with_files(folder / "export", dice, times)
            tamper_with_rows(db, dice, times)
            assert verify.verify_folder(folder / "export").differences == []
    finally:
        shutil.rmtree(folder)


def property_test(examples: int):  # type: ignore[no-untyped-def]
    def decorate(test):  # type: ignore[no-untyped-def]
        given_ = given(
            states=months(2),
            acts=ACTS,
            put=st.lists(st.booleans(), max_size=4),
            seed=st.integers(0, 2**32),
        )
        settings_ = settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
        )
        return settings_(given_(test))

    return decorate


@property_test(examples=2)
def test_a_random_month_verifies_and_a_random_change_is_named(
    server: Server, states: list[RandomMonth], acts: list[Act], put: list[bool], seed: int
) -> None:
    check(server, states, acts, put, seed, times=3)


@pytest.mark.long
@pytest.mark.timeout(3600)
@property_test(examples=300)
def test_many_random_months_verify_and_many_random_changes_are_named(
    server: Server, states: list[RandomMonth], acts: list[Act], put: list[bool], seed: int
) -> None:
    check(server, states, acts, put, seed, times=20)
