"""What every deployment has, this stack and those of ``docker-compose.yaml``: the files of ``include/deployment``."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from psycopg import sql

from invoicing.stack.layout import REPOSITORY

FOLDER = REPOSITORY / "include" / "deployment"


@dataclass(frozen=True, slots=True)
class AirflowPool:
    """A pool of Airflow's: how many tasks with it run at once."""

    slots: int
    description: str


def airflow_pools() -> dict[str, AirflowPool]:
    """The pools by name; this machine renders on all of its cores."""
    document = json.loads((FOLDER / "pools.json").read_text(encoding="utf-8"))
    pools = {name: AirflowPool(pool["slots"], pool["description"]) for name, pool in document.items()}
    render = pools["render"]
    return pools | {"render": AirflowPool(max(render.slots, os.cpu_count() or 1), render.description)}


def airflow_settings(file: str = "airflow.env") -> dict[str, str]:
    """Airflow's settings as variables: ``AIRFLOW__SECTION__OPTION``.

    Args:
        file: ``celery.env`` for those on top, where tasks go to workers of Celery's.
    """
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    assignments = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in assignments}


def database_statements(passwords: Mapping[str, str], file: str = "databases.sql") -> Iterator[sql.Composed]:
    """The statements that make the two databases and their roles, in their order.

    Args:
        passwords: By the names of psql's variables in the file.
        file: ``owner.sql`` for those that give the business database of an older version an owner.
    """
    text = (FOLDER / file).read_text(encoding="utf-8")
    for statement in re.sub(r"^--.*\n", "", text, flags=re.MULTILINE).split(";"):
        if statement.strip():
            words, *rest = re.split(r":'(\w+)'", statement.strip())
            variables = zip(rest[::2], rest[1::2], strict=True)
            # The text is this project's own file.
            yield sql.SQL("").join(
                [sql.SQL(words), *(sql.Literal(passwords[name]) + sql.SQL(then) for name, then in variables)]
            )
