"""What cannot be sent as it is: it fails with the reason, its neighbours go on, and nothing odd reaches the wire."""

import functools
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb

from invoicing.domain.delivery import Batch
from invoicing.domain.errors import TemporaryFailureError
from invoicing.rendering.assignment import Limits
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.services.delivery import render
from support.archive import archive_in
from support.ledger import Ledger
from support.relay import FaultyRelay

pytestmark = pytest.mark.faults

BAD_ADDRESSES = [
    "a@x, b@evil",
    "a@x)b@y",
    "<a@x><b@y>",
    "a@@x",
    "solo",
    "a@[127.0.0.1]",
    "a@x.example\r\nRCPT TO:<evil@evil.example>",
    "=?utf-8?q?a=0D=0ABcc:_evil=40evil.example?=@x.example",
    "a" * 290 + "@x.example",
]
"""A NUL is in none of them: PostgreSQL stores no text with one."""


def test_an_address_that_is_none_reaches_neither_the_wire_nor_a_header(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    """Past the rules of the selection, which would have stopped them: as if the ledger had been tampered with."""
    ids = ledger.make(tenants=2 * len(BAD_ADDRESSES) + 1)
    for number, address in enumerate(BAD_ADDRESSES):
        ledger.db.execute(
            "UPDATE invoicing.delivery SET to_addresses = %s WHERE id = %s", [[address], ids[2 * number]]
        )
        ledger.db.execute(
            "UPDATE invoicing.delivery SET cc_addresses = %s WHERE id = %s", [[address], ids[2 * number + 1]]
        )

    ending = ledger.send(relay.port)

    assert ending.ended == "permanent"
    assert ledger.states() == {"failed": 2 * len(BAD_ADDRESSES), "sent": 1}
    assert all(
        "not sent: invalid address" in row["reason"] for row in ledger.rows() if row["state"] == "failed"
    )
    assert relay.accepted == 1
    assert not any("evil" in command for command in relay.commands)
    assert b"evil" not in relay.messages[0].content
    ledger.check(relay.accepted_ids)


def test_an_internationalised_domain_travels_as_idna_and_a_local_part_needs_smtputf8(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    ledger.make(tenants=2)
    ledger.change_tenant("T0001", emails=["ana@peña.example"])
    ledger.change_tenant("T0002", emails=["josé@correo.example"])
    ledger.plan()

    ending = ledger.send(relay.port)

    assert (ending.ended, ledger.row_states()) == ("permanent", ["sent", "failed"])
    assert relay.messages[0].recipients == ("ana@xn--pea-8ma.example",)
    assert "SMTPUTF8" in ledger.rows()[1]["last_reply"]
    assert relay.accepted == 1
    ledger.check(relay.accepted_ids)


def test_without_a_sender_nothing_is_sent(ledger: Ledger, relay: FaultyRelay) -> None:
    ledger.make(tenants=2)
    ledger.set(from_email="", auto_send=True)
    ledger.plan()

    ending = ledger.send(relay.port)

    assert ending.ended == "permanent"
    assert "from_email" in ending.message
    assert relay.accepted == 0
    ledger.check(relay.accepted_ids)


@pytest.mark.parametrize(
    "fault",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ ('x' * 2000000000)|length }}",
    ],
    ids=["hangs", "takes-all-memory"],
)
def test_an_invoice_whose_rendering_hangs_or_is_killed_costs_its_own_tenant_the_mail(
    fault: str, ledger: Ledger, relay: FaultyRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.make(tenants=0)
    row = ledger.db.execute("SELECT parts FROM invoicing.template_version").fetchone()
    assert row is not None
    spoilt = row["parts"]["invoice.html"].replace(
        "</body>", "{% if invoice.number == 'FV-2' %}" + fault + "{% endif %}</body>"
    )
    assert fault in spoilt
    ledger.db.execute(
        "INSERT INTO invoicing.template_version (name, version, parts, actor) VALUES ('default', 99, %s, 'test')",
        [Jsonb({**row["parts"], "invoice.html": spoilt})],
    )
    for code in ("A", "B", "C"):
        ledger.db.execute(
            "INSERT INTO invoicing.tenant (code, document_type, document_number, name, emails, auto_send)"
            " VALUES (%s, 'CC', '1', %s, %s, true)",
            [code, code, [f"{code.lower()}@correo.example"]],
        )
        ledger.add_lease(code, f"{code}-1")
    run_id = ledger.plan()
    limits = Limits(seconds=3, memory_bytes=256 * 1024 * 1024)
    monkeypatch.setattr(render, "InvoiceRenderer", functools.partial(InvoiceRenderer, limits=limits))

    # It may have been a busy machine: Airflow tries again, and no better.
    with pytest.raises(TemporaryFailureError, match="FV-2"):
        render.render_batch(
            ledger.db, archive_in(ledger.folder / "archive"), run_id, Batch("all", tuple(ledger.ids()))
        )
    ending = ledger.send(relay.port)

    assert ending.ended == "permanent"
    assert "FV-2 has no document" in ending.message
    assert ledger.row_states() == ["sent", "failed", "sent"]
    assert relay.accepted == 2
    ledger.check(relay.accepted_ids)
