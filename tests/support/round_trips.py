"""How often a connection asks its database and waits for the answer."""

import os
import tempfile
from typing import Self

from psycopg.pq import Trace

from invoicing.db.connection import Database


class RoundTrips:
    """Counts, while its block lasts, what libpq says of a connection: a question ends with ``ReadyForQuery``.

    Whoever asks, and by whichever of psycopg's ways: also a BEGIN, a COMMIT, and that a statement is prepared.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self.count = 0

    def __enter__(self) -> Self:
        self._trace = tempfile.TemporaryFile()
        # Its own descriptor: libpq closes what it is given.
        self._db.pgconn.trace(os.dup(self._trace.fileno()))
        self._db.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        return self

    def __exit__(self, *_: object) -> None:
        self._db.pgconn.untrace()
        self._trace.seek(0)
        self.count = sum(b"ReadyForQuery" in line for line in self._trace)
        self._trace.close()
