"""Serve the pages by themselves, for looking at them while one works on them.

    PYTHONPATH=plugins:tests .venv/bin/python tests/web/serve.py DSN [PORT]

Everybody is let in: ``/as/ana`` (may change), ``/as/luis`` (may look) and ``/as/nora`` (may look at amounts) set the
cookie that says who one is.
Templates and styles are read anew with each request; code is not.
"""

import sys
from pathlib import Path

import uvicorn
from fastapi.responses import RedirectResponse

from support.visiting import open_app

if __name__ == "__main__":
    dsn, port = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8096
    with open_app(dsn, Path("var/archive")) as app:

        @app.parent.get("/as/{name}")
        def become(name: str) -> RedirectResponse:
            answer = RedirectResponse("/invoicing/tenants")
            answer.set_cookie("visitor", name)
            return answer

        uvicorn.run(app.parent, host="127.0.0.1", port=port, log_level="warning")
