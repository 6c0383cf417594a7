"""The embedded stack: PostgreSQL, a mail inbox and Airflow, on this machine, for one state folder.

Only the command line imports it. Everything lives under ``INVOICING_STATE``; everything listens on 127.0.0.1.
"""

from invoicing.stack.control import StackInfo, database_dsn, describe, environment, owner_dsn, start, stop
from invoicing.stack.parts import StackError

__all__ = ["StackError", "StackInfo", "database_dsn", "describe", "environment", "owner_dsn", "start", "stop"]
