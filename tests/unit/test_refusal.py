"""What a relay's answer means to a person."""

import pytest

from invoicing.domain.refusal import Refusal, is_about_the_address, refusal_of
from invoicing.words.refusals import REFUSALS


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        ("550 5.1.1 <nadie@correo.example>: Recipient address rejected: User unknown", "address_unknown"),
        # Gmail, Exchange, Postfix, and servers without enhanced codes.
        ("550 5.1.1 The email account that you tried to reach does not exist.", "address_unknown"),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", "address_unknown"),
        ("550 5.4.1 Recipient address rejected: Access denied", "route"),
        ("552 5.2.2 The email account that you tried to reach is over quota", "mailbox_full"),
        ("452 4.2.2 Mailbox full", "mailbox_full"),
        ("552 5.3.4 Message size exceeds fixed limit", "too_large"),
        ("552 5.2.3 Your message is too big", "too_large"),
        ("554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked", "policy"),
        ("550 5.7.26 This message does not pass authentication checks (SPF and DKIM)", "sender_unproven"),
        ("550 5.7.23 SPF validation failed", "sender_unproven"),
        ("553 5.1.8 Sender address rejected: Domain not found", "sender_refused"),
        ("550 5.2.1 The email account is disabled", "mailbox_disabled"),
        ("556 5.1.10 Recipient address has null MX", "domain_without_mail"),
        ("550 5.1.2 Bad destination system address", "domain_without_mail"),
        ("550 5.6.7 SMTPUTF8 needed", "address_not_ascii"),
        ("452 4.5.3 Too many recipients", "too_many_recipients"),
        ("550 5.9.9 something new", "address_refused"),
        ("550 No such user here", "address_refused"),
        ("550 Mailbox at 5.1.1.7 unknown", "address_refused"),
        ("552 Requested mail action aborted", "mailbox_full"),
        ("554 Transaction failed", "policy"),
        ("451 Try again later", "server_busy"),
        ("421 4.3.2 Service shutting down", "server_busy"),
        # Of several recipients, the first that is refused for good.
        ("550 <a@x.example>: 550 5.1.1 unknown; <b@x.example>: 452 4.2.2 full", "address_unknown"),
        ("550 <a@x.example>: 450 4.2.2 full; <b@x.example>: 550 5.1.1 unknown", "address_unknown"),
        ("not sent: 'x y' is no address that can travel", "address_malformed"),
        (
            "not sent: the address ñ@x.example needs SMTPUTF8, which the relay does not offer",
            "address_not_ascii",
        ),
        ("not sent: template default: line 3: there is no variable nadie", "not_built"),
        ("599 odd", "unknown"),
    ],
)
def test_an_answer_is_understood_by_its_codes(reply: str, meaning: str) -> None:
    assert refusal_of("failed", reply) == meaning


def test_what_was_not_refused_means_nothing() -> None:
    assert refusal_of("sent", "250 2.0.0 Ok: queued as 5.1.1") is None
    assert refusal_of("pending", "250 2.0.0 Ok") is None
    assert refusal_of("failed", None) is None
    assert refusal_of(None, "550 5.1.1 x") is None
    assert refusal_of("pending", "[Errno 111] Connection refused") == Refusal.RELAY_AWAY


def test_every_meaning_has_its_words_and_no_other() -> None:
    assert set(REFUSALS) == {str(each) for each in Refusal}
    assert is_about_the_address("address_unknown")
    assert not is_about_the_address("policy")
    assert not is_about_the_address(None)
