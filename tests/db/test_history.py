"""History that cannot be rewritten quietly: whatever is changed in a row that counts is found, and named."""

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from invoicing.db.connection import Database, connect
from invoicing.services.audit import history
from invoicing.services.audit.layout import TABLES
from support.database import as_superuser
from support.ledger import Ledger
