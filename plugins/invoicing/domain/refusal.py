"""What a relay's answer means: from its enhanced status code (RFC 3463), else from its plain one (RFC 5321).

Servers differ in their words and agree, mostly, in their codes. What this says is shown to a person beside the relay's
own words, and decides nothing.
"""

import re
from enum import StrEnum


class Refusal(StrEnum):
    """Why a message was not taken, as far as a person can do something about it."""

    ADDRESS_UNKNOWN = "address_unknown"
    ADDRESS_REFUSED = "address_refused"
    ADDRESS_MALFORMED = "address_malformed"
    ADDRESS_MOVED = "address_moved"
    ADDRESS_NOT_ASCII = "address_not_ascii"
    DOMAIN_WITHOUT_MAIL = "domain_without_mail"
    MAILBOX_DISABLED = "mailbox_disabled"
    MAILBOX_FULL = "mailbox_full"
    SERVER_FULL = "server_full"
    TOO_LARGE = "too_large"
    TOO_MANY_RECIPIENTS = "too_many_recipients"
    SENDER_REFUSED = "sender_refused"
    SENDER_UNPROVEN = "sender_unproven"
    POLICY = "policy"
    CONTENT = "content"
    LOGIN = "login"
    ROUTE = "route"
    PROTOCOL = "protocol"
    SERVER_BUSY = "server_busy"
    RELAY_AWAY = "relay_away"
    NOT_BUILT = "not_built"
    UNKNOWN = "unknown"


# By subject and detail: RFC 3463, section 3, and what was registered since (RFC 4865, 5248, 6531, 7372, 7489, 7505).
_BY_STATUS = {
    (1, 0): Refusal.ADDRESS_REFUSED,
    (1, 1): Refusal.ADDRESS_UNKNOWN,
    (1, 2): Refusal.DOMAIN_WITHOUT_MAIL,
    (1, 3): Refusal.ADDRESS_MALFORMED,
    (1, 4): Refusal.ADDRESS_REFUSED,
    (1, 6): Refusal.ADDRESS_MOVED,
    (1, 7): Refusal.SENDER_REFUSED,
    (1, 8): Refusal.SENDER_REFUSED,
    # A domain that takes no mail (RFC 7505) answers 556, below; some servers mean that there is no such recipient.
    (1, 10): Refusal.ADDRESS_UNKNOWN,
    (2, 1): Refusal.MAILBOX_DISABLED,
    (2, 2): Refusal.MAILBOX_FULL,
    (2, 3): Refusal.TOO_LARGE,
    (3, 1): Refusal.SERVER_FULL,
    (3, 4): Refusal.TOO_LARGE,
    (4, 1): Refusal.RELAY_AWAY,
    (4, 2): Refusal.RELAY_AWAY,
    (4, 3): Refusal.ROUTE,
    (4, 4): Refusal.ROUTE,
    (4, 6): Refusal.ROUTE,
    (5, 3): Refusal.TOO_MANY_RECIPIENTS,
    (6, 7): Refusal.ADDRESS_NOT_ASCII,
    (7, 8): Refusal.LOGIN,
    (7, 9): Refusal.LOGIN,
    (7, 20): Refusal.SENDER_UNPROVEN,
    (7, 21): Refusal.SENDER_UNPROVEN,
    (7, 22): Refusal.SENDER_UNPROVEN,
    (7, 23): Refusal.SENDER_UNPROVEN,
    (7, 24): Refusal.SENDER_UNPROVEN,
    (7, 25): Refusal.SENDER_UNPROVEN,
    (7, 26): Refusal.SENDER_UNPROVEN,
    (7, 27): Refusal.SENDER_REFUSED,
}
# Of a subject whose detail is not above.
_BY_SUBJECT = {
    1: Refusal.ADDRESS_REFUSED,
    2: Refusal.ADDRESS_REFUSED,
    3: Refusal.SERVER_BUSY,
    4: Refusal.SERVER_BUSY,
    5: Refusal.PROTOCOL,
    6: Refusal.CONTENT,
    7: Refusal.POLICY,
}
# RFC 5321, section 4.2.3.
_BY_CODE = {
    421: Refusal.SERVER_BUSY,
    450: Refusal.SERVER_BUSY,
    451: Refusal.SERVER_BUSY,
    452: Refusal.SERVER_FULL,
    454: Refusal.LOGIN,
    500: Refusal.PROTOCOL,
    501: Refusal.ADDRESS_MALFORMED,
    502: Refusal.PROTOCOL,
    503: Refusal.PROTOCOL,
    530: Refusal.LOGIN,
    535: Refusal.LOGIN,
    550: Refusal.ADDRESS_REFUSED,
    551: Refusal.ADDRESS_MOVED,
    552: Refusal.MAILBOX_FULL,
    553: Refusal.ADDRESS_MALFORMED,
    554: Refusal.POLICY,
    555: Refusal.PROTOCOL,
}
# Not a part of an internet address or of a version.
_STATUS = re.compile(
    r"(?<![\w.])(?P<kind>[245])\.(?P<subject>\d{1,3})\.(?P<detail>\d{1,3})(?!\w|\.\d)", re.ASCII
)
_CODE = re.compile(r"(?P<code>[2-5]\d\d)(?!\d)", re.ASCII)
# RFC 7504: whatever else they say.
_NO_MAIL_THERE = frozenset(("521", "556"))
# What the ledger says where the message did not get as far as the relay.
_OWN = "not sent: "

_AT_THE_ADDRESS = frozenset(
    (
        Refusal.ADDRESS_UNKNOWN,
        Refusal.ADDRESS_REFUSED,
        Refusal.ADDRESS_MALFORMED,
        Refusal.ADDRESS_MOVED,
        Refusal.ADDRESS_NOT_ASCII,
        Refusal.DOMAIN_WITHOUT_MAIL,
        Refusal.MAILBOX_DISABLED,
        Refusal.MAILBOX_FULL,
    )
)


def is_about_the_address(refusal: str | None) -> bool:
    """Whether another address may help."""
    return refusal in _AT_THE_ADDRESS


def refusal_of(state: str | None, last_reply: str | None) -> Refusal | None:
    """What ``last_reply`` means for a delivery that is not sent; None where nothing was refused.

    Args:
        state: The delivery's.
        last_reply: As the ledger keeps it: the plain code and the relay's words, or words of our own.
    """
    if not last_reply or state not in ("failed", "pending", "held"):
        return None
    if last_reply.startswith(_OWN):
        return _own(last_reply)
    code = _CODE.match(last_reply)
    if code is None:
        return Refusal.UNKNOWN if state == "failed" else Refusal.RELAY_AWAY
    return _of_the_relay(code["code"], last_reply) if code["code"][0] in "45" else None


def _of_the_relay(code: str, last_reply: str) -> Refusal:
    kind = code[0]
    if code in _NO_MAIL_THERE:
        return Refusal.DOMAIN_WITHOUT_MAIL
    # An enhanced code counts where it is of the same class as the plain one (RFC 2034).
    status = next((found for found in _STATUS.finditer(last_reply) if found["kind"] == kind), None)
    meant = None
    if status is not None:
        subject, detail = int(status["subject"]), int(status["detail"])
        meant = _BY_STATUS.get((subject, detail)) or _BY_SUBJECT.get(subject)
    if meant is Refusal.RELAY_AWAY and kind == "5":
        return Refusal.ROUTE
    return meant or _BY_CODE.get(int(code), Refusal.SERVER_BUSY if kind == "4" else Refusal.UNKNOWN)


def _own(last_reply: str) -> Refusal:
    if "SMTPUTF8" in last_reply:
        return Refusal.ADDRESS_NOT_ASCII
    return Refusal.ADDRESS_MALFORMED if "is no address" in last_reply else Refusal.NOT_BUILT
