"""The agency's files, written for a test: their headers, and whatever rows it needs."""

from collections.abc import Iterable
from pathlib import Path

HEADERS = {
    "tenants": "tenant_code,document_type,document_number,name,emails,cc_emails,language,city,withholding_agent,"
    "auto_send,only_multiple",
    "leases": "lease_code,tenant_code,property,city,use,start_date,end_date,rent,currency",
    "charges": "lease_code,concept,description,amount,tax,prorated,from_period,to_period",
    "tax_rates": "tax,city,rate,minimum_base,valid_from,valid_to",
}


def write_files(folder: Path, **files: Iterable[str]) -> Path:
    """Write the rows of each file named into ``folder``, in place of what an earlier call wrote there."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, rows in files.items():
        (folder / f"{name}.csv").write_text("\n".join([HEADERS[name], *rows, ""]), encoding="utf-8")
    return folder
