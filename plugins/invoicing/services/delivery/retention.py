"""What may be taken out after how long, and what takes it out.

Messages that the embedded inbox keeps, addresses of test messages, words of old notices. Nothing else: invoices,
deliveries and what happened to them are proof, for years (docs/security.md), and what happened is never rewritten.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path

from invoicing.db import audit
from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.domain.errors import InputError

_SQL = beside(__file__)
_HEADER = "X-Invoice-Delivery"
_FEWEST_MONTHS = 2
_LARGEST_ID = 2**62


@dataclass(frozen=True, slots=True)
class Purgeable:
    """How much is older than a moment, and would be taken out.

    Args:
        messages: Files of the embedded inbox; what they carried stays in the archive, their SHA-256 in the ledger.
        unsettled: Files that are as old and stay: their delivery is not settled, or not in this database.
        trial_messages: Test messages whose address is kept.
        notices: Notices to the operator, sent, whose words are kept.
    """

    before: datetime.datetime
    messages: int
    unsettled: int
    trial_messages: int
    notices: int


def cutoff(now: datetime.datetime, months: int) -> datetime.datetime:
    """The moment ``months`` of 31 days before ``now``.

    Raises:
        InputError: It is less than two months: a month's questions come in the next.
    """
    if not _FEWEST_MONTHS <= months <= 1200:
        raise InputError("retention_too_short", months=months, fewest=_FEWEST_MONTHS)
    return now - datetime.timedelta(days=31 * months)


def find_purgeable(db: Database, mailbox: Path | None, before: datetime.datetime) -> Purgeable:
    """Count what `purge` would take out. Changes nothing.

    Args:
        mailbox: The embedded inbox's folder; None where there is none.
    """
    found = db.execute(_SQL["due"], {"before": before}).fetchone()
    assert found is not None
    settled, kept = _old_messages(db, mailbox, before)
    return Purgeable(before, len(settled), kept, found["trial_messages"], found["notices"])


def purge(db: Database, mailbox: Path | None, before: datetime.datetime, *, actor: str) -> Purgeable:
    """Take out what is older than ``before``. Safe to repeat.

    Args:
        db: Logged in as the owner: the application's role may not do it.

    Returns:
        What was taken out.
    """
    settled, kept = _old_messages(db, mailbox, before)
    with db.transaction():
        trials = db.execute(_SQL["purge_trial_messages"], {"before": before}).rowcount
        notices = db.execute(_SQL["purge_notices"], {"before": before}).rowcount
        audit.record(
            db,
            actor=actor,
            action="personal_data_purged",
            subject=f"before {before:%Y-%m-%d}",
            details={"messages": len(settled), "trial_messages": trials, "notices": notices},
        )
    # Written down first: what cannot be done again is not done unseen.
    for path in settled:
        path.unlink(missing_ok=True)
    return Purgeable(before, len(settled), kept, trials, notices)


def _old_messages(db: Database, mailbox: Path | None, before: datetime.datetime) -> tuple[list[Path], int]:
    """Files that may go, and how many as old have to stay: of what is unsettled a message is the proof."""
    old = dict(_deliveries_of(mailbox, before)) if mailbox is not None and mailbox.is_dir() else {}
    ids = [id_ for id_ in old.values() if id_]
    states = {row["id"]: row["is_settled"] for row in db.execute(_SQL["states"], {"ids": ids})}
    going = [path for path, id_ in old.items() if id_ is None or states.get(id_, False)]
    return going, len(old) - len(going)


def _deliveries_of(mailbox: Path, before: datetime.datetime) -> Iterator[tuple[Path, int | None]]:
    """Old files, each with its delivery's id; None for what is no delivery's (a notice, a test)."""
    for path in sorted(mailbox.glob("*.eml")):
        if path.stat().st_mtime >= before.timestamp():
            continue
        with path.open("rb") as file:
            named = BytesHeaderParser().parse(file).get(_HEADER)
        is_id = named is not None and named.strip().isdecimal()
        yield path, None if named is None else min(int(named), _LARGEST_ID) if is_id else _LARGEST_ID
