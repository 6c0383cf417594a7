"""Whether the database and the archive are what was written: ``audit verify``."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from invoicing.db.connection import Database
from invoicing.db.statements import beside
from invoicing.services.audit import history
from invoicing.services.audit.history import Difference, Head
from invoicing.services.audit.verify import Verified
from invoicing.services.delivery import archive as kept_documents
from invoicing.services.delivery.archive import Archive, DocumentDamagedError, StorageFaultError
from invoicing.words.failures import Failure, Fault

_SQL = beside(__file__)
_AT_ONCE = 100


@dataclass(slots=True)
class LookedBack:
    """What was found.

    Args:
        differences: Empty where all is as it was written.
        entries: How many are chained.
        documents: How many were read, and are what they were.
        notes: What could not be looked at.
    """

    head: Head
    differences: list[Difference] = field(default_factory=list)
    entries: int = 0
    documents: int = 0
    notes: list[Failure] = field(default_factory=list)


def look_back(
    db: Database, archive: Archive, *, report: Callable[[str, int, int], None] = lambda *_: None
) -> LookedBack:
    """Compare every row that counts with the history, the history with itself, and every document with its hash.

    Args:
        db: Outside of a transaction. What is not chained yet is chained first.
        report: Told what is read, how much of it is done, and of how much.
    """
    found = LookedBack(history.seal(db))
    found.differences += history.differences(db)
    counted = db.execute(_SQL["figures"]).fetchone()
    assert counted is not None
    found.entries = counted["entries"]
    if found.head.unsealed:
        found.notes.append(Fault("history_unsealed", count=found.head.unsealed))
    try:
        for difference in _documents(db, archive, found, report):
            found.differences.append(difference)
    except StorageFaultError as error:
        found.notes.append(Fault("verify_archive_away", reason=error))
    return found


def compare_head(db: Database, exported: Verified) -> Iterator[Difference]:
    """Whether an export's head is in the history of the database: then nothing before it has changed since."""
    if exported.head is None or not exported.head_entry:
        return
    if history.link_of(db, exported.head_entry) != exported.head:
        head = f"{exported.head_entry}:{exported.head}"
        yield Difference(
            f"history_link {exported.head_entry}", Fault("export_head_not_of_database", head=head)
        )


def _documents(
    db: Database, archive: Archive, found: LookedBack, report: Callable[[str, int, int], None]
) -> Iterator[Difference]:
    ids = [row["invoice_id"] for row in db.execute(_SQL["documents"])]
    for start in range(0, len(ids), _AT_ONCE):
        for record in kept_documents.find(db, ids[start : start + _AT_ONCE]):
            try:
                kept_documents.read(archive, [record])
                found.documents += 1
            except DocumentDamagedError as error:
                yield Difference(f"archive {record.key or record.former_uri}", error)
        report("documents", min(start + _AT_ONCE, len(ids)), len(ids))
