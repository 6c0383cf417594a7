"""Airflow's own API server with our plugin, on a metadata database of its own: run as a program by `real_airflow`.

    python -m support.airflow_server PORT USERS OWN_ROLES

The environment says which auth manager. USERS is JSON: name to role; every password is the name. OWN_ROLES is JSON too:
roles that FAB is given, each with a user of its name (`support.real_airflow.OwnRole`). Nothing but the API server runs:
no scheduler, no DAG.
"""

import json
import sys
from typing import Any

import uvicorn


def create_metadata() -> None:
    """As ``airflow db migrate`` does on an empty database, the auth manager's tables included."""
    from airflow.utils.db import initdb

    initdb()


def create_fab_users(users: dict[str, str], own_roles: dict[str, dict[str, list[list[str]]]]) -> None:
    from airflow.providers.fab.www.app import create_app

    app: Any = create_app(enable_plugins=False)
    with app.app_context():
        manager = app.appbuilder.sm
        manager.sync_roles()
        for name, own in own_roles.items():
            permissions = set(manager.VIEWER_PERMISSIONS) | {(act, what) for act, what in own["plus"]}
            permissions -= {(act, what) for act, what in own["without"]}
            manager.bulk_sync_roles([{"role": name, "perms": sorted(permissions)}])
        for name, role in (users | {name: name for name in own_roles}).items():
            manager.add_user(name, name, name, f"{name}@example.com", manager.find_role(role), password=name)


if __name__ == "__main__":
    from airflow.configuration import conf

    create_metadata()
    if "fab" in conf.get("core", "auth_manager").lower():
        create_fab_users(json.loads(sys.argv[2]), json.loads(sys.argv[3]))
    from airflow.api_fastapi.app import create_app as create_airflow

    uvicorn.run(create_airflow(apps="core"), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
