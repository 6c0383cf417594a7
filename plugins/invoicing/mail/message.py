"""Builds the message of a delivery: the same bytes from the same input, and no header that nobody meant.

The header block is written here and not by the standard library's ``EmailMessage``: Python 3.11 decodes an
encoded word in a value that it is given, and writes out the line break that was hidden in it (the name
``=?utf-8?q?x=0D=0ABcc:_evil@x?=`` becomes a header). The library builds the MIME parts, and reads the
finished message back: what it finds must be exactly what was intended, or nothing is sent.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_string, policy
from email.header import Header
from email.headerregistry import AddressHeader
from email.message import EmailMessage, MIMEPart
from email.parser import HeaderParser
from email.utils import format_datetime
from hashlib import sha256

from invoicing.domain.address import to_envelope
from invoicing.domain.errors import InputError, PermanentFailureError
from invoicing.words.failures import Failure, Fault

_CRLF = "\r\n"
_LONGEST_LINE = 998  # RFC 5322, 2.1.1: characters of a line, its CRLF not counted
_LONGEST_PLAIN_VALUE = 60  # keeps a line that needs no encoding within the 78 that RFC 5322 recommends
_PLAIN_TEXT = re.compile(r"[!-~]+( [!-~]+)*")
_MESSAGE_ID = re.compile(r"<[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+>", re.ASCII)
_MIME = policy.SMTP.clone(cte_type="7bit", max_line_length=76)


class UnsafeMessageError(PermanentFailureError):
    """A message that would not say exactly what was intended. Nothing of it was sent.

    Args:
        part: The header, by its name, or another part that is to blame.
        problem: What is wrong with it.
    """

    def __init__(self, part: str | Fault, problem: Failure) -> None:
        super().__init__("message_unsafe", part=part, problem=problem)
        self.field = str(part)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name shown for it; the name may be empty."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A PDF and the file name that the reader sees."""

    filename: str
    content: bytes


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """All that a message says.

    Args:
        message_id: With its angle brackets; fixed when the delivery was created.
        date: Aware; fixed with the delivery.
        sender: Who it is from.
        reply_to: Where answers go; empty for the sender.
        to: At least one address.
        cc: Addresses in copy.
        subject: One line.
        text: The plain body.
        html: The same as a complete HTML document, its CSS inlined.
        attachments: One PDF an invoice.
        delivery_id: Written as ``X-Invoice-Delivery``.
    """

    message_id: str
    date: datetime
    sender: Mailbox
    reply_to: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    text: str
    html: str
    attachments: tuple[Attachment, ...]
    delivery_id: str


def build(mail: OutgoingMail) -> bytes:
    """Build ``mail`` as ``multipart/mixed(multipart/alternative(text, html), one PDF an invoice)``.

    Lines end in CRLF and none is too long for a relay. All is ASCII, save where an address has a local part
    that is not (RFC 6532: such a message needs SMTPUTF8). There is no ``Bcc``. Dots are not stuffed yet.

    Raises:
        UnsafeMessageError: A field cannot be written, or reads back as something else than intended.
    """
    headers = tuple(_headers(mail))
    written = "".join(f"{header.name}: {header.written}{_CRLF}" for header in headers)
    content = written + _body(mail).as_bytes(policy=_MIME).decode("ascii")
    _verify(content, headers, mail)
    return content.encode()


@dataclass(frozen=True, slots=True)
class _Header:
    """A header as it is written, and what a reader must understand: text, or names with addresses."""

    name: str
    written: str
    intended: str | tuple[tuple[str, str], ...]


def _headers(mail: OutgoingMail) -> Iterator[_Header]:
    if mail.date.tzinfo is None:
        raise UnsafeMessageError("Date", Fault("no_time_zone"))
    if not _MESSAGE_ID.fullmatch(mail.message_id):
        raise UnsafeMessageError("Message-ID", Fault("message_id_malformed", value=mail.message_id))
    if not mail.to:
        raise UnsafeMessageError("To", Fault("no_address"))
    if not re.fullmatch(r"[\w-]+", mail.delivery_id, re.ASCII):
        raise UnsafeMessageError("X-Invoice-Delivery", Fault("delivery_id_malformed", value=mail.delivery_id))
    date = format_datetime(mail.date)
    yield _Header("Date", date, date)
    yield _Header("Message-ID", mail.message_id, mail.message_id)
    yield _address_header("From", [mail.sender])
    if mail.reply_to:
        yield _address_header("Reply-To", [Mailbox("", mail.reply_to)])
    yield _address_header("To", [Mailbox("", address) for address in mail.to])
    if mail.cc:
        yield _address_header("Cc", [Mailbox("", address) for address in mail.cc])
    subject = _single_line("Subject", mail.subject)
    yield _Header("Subject", _encode_text("Subject", subject), subject)
    yield _Header("Auto-Submitted", "auto-generated", "auto-generated")
    yield _Header("X-Invoice-Delivery", mail.delivery_id, mail.delivery_id)
    yield _Header("MIME-Version", "1.0", "1.0")


def _address_header(field: str, mailboxes: Sequence[Mailbox]) -> _Header:
    try:
        intended = tuple(
            (_single_line(field, mailbox.name), to_envelope(mailbox.address)) for mailbox in mailboxes
        )
    except InputError as error:
        raise UnsafeMessageError(field, error) from error
    written = [f"{_encode_name(field, name)} <{address}>" if name else address for name, address in intended]
    return _Header(field, f",{_CRLF} ".join(written), intended)


def _single_line(field: str | Fault, value: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise UnsafeMessageError(field, Fault("control_character", value=value))
    return value


def _encode_text(field: str, value: str) -> str:
    """Write unstructured text: as it is where it is plain, short and no encoded word; else as such words."""
    plain = _PLAIN_TEXT.fullmatch(value) and "=?" not in value and len(value) <= _LONGEST_PLAIN_VALUE
    if plain or not value:
        return value
    return Header(value, "utf-8", header_name=field, maxlinelen=76).encode(linesep=_CRLF)


def _encode_name(field: str, value: str) -> str:
    encoded = _encode_text(field, value)
    if encoded != value:
        return encoded
    escaped = value.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _body(mail: OutgoingMail) -> MIMEPart:
    alternative = MIMEPart(_MIME)
    alternative.set_content(mail.text, cte="quoted-printable")
    alternative.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    mixed = MIMEPart(_MIME)
    mixed["Content-Type"] = "multipart/mixed"
    mixed.attach(alternative)
    for attachment in mail.attachments:
        part = MIMEPart(_MIME)
        filename = _single_line(Fault("the_attachment_name"), attachment.filename)
        part.set_content(
            attachment.content, "application", "pdf", disposition="attachment", filename=filename
        )
        mixed.attach(part)
    # "=_" can stand in neither of the encodings used, so no part can contain the boundary around it.
    seed = sha256(mail.message_id.encode()).hexdigest()[:32]
    mixed.set_boundary(f"=_mixed_{seed}")
    alternative.set_boundary(f"=_alternative_{seed}")
    return mixed


def _verify(content: str, headers: Sequence[_Header], mail: OutgoingMail) -> None:
    """Read the message back as its reader will, and compare it with what was meant."""
    if any(len(line) > _LONGEST_LINE for line in content.split(_CRLF)):
        raise UnsafeMessageError(Fault("the_message"), Fault("line_too_long", most=_LONGEST_LINE))
    head = HeaderParser(_class=EmailMessage, policy=policy.default).parsestr(content.partition(_CRLF * 2)[0])
    read_names = head.keys()
    names = [header.name for header in headers] + ["Content-Type"]
    for name in read_names:
        if name not in names or read_names.count(name) != 1:
            raise UnsafeMessageError(name, Fault("header_unintended"))
    if read_names != names:
        raise UnsafeMessageError(
            Fault("the_header_block"), Fault("headers_unintended", names=str(read_names))
        )
    for header in headers:
        if _without_folds(_read(head, header.name)) != _without_folds(header.intended):
            raise UnsafeMessageError(header.name, Fault("misread", read=str(head[header.name])))
    _verify_parts(content, mail)


def _verify_parts(content: str, mail: OutgoingMail) -> None:
    # The older parser reads MIME as well as the newer one, in a third of the time.
    parts = list(message_from_string(content, policy=policy.compat32).walk())
    expected_types = ["multipart/mixed", "multipart/alternative", "text/plain", "text/html"]
    expected_types += ["application/pdf"] * len(mail.attachments)
    if [part.get_content_type() for part in parts] != expected_types:
        raise UnsafeMessageError(Fault("the_mime_structure"), Fault("structure_unintended"))
    if any(part.defects for part in parts):
        raise UnsafeMessageError(Fault("the_mime_structure"), Fault("structure_defective"))
    for part, attachment in zip(parts[4:], mail.attachments, strict=True):
        if part.get_filename() != attachment.filename:
            raise UnsafeMessageError(Fault("the_attachment_name"), Fault("misread", read=part.get_filename()))
        read = part.get_payload(decode=True)
        assert isinstance(read, bytes)
        if sha256(read).digest() != sha256(attachment.content).digest():
            raise UnsafeMessageError(
                Fault("the_attachment", filename=attachment.filename), Fault("misread_bytes")
            )


def _read(message: EmailMessage, name: str) -> str | tuple[tuple[str, str], ...]:
    header = message[name]
    if isinstance(header, AddressHeader):
        return tuple((mailbox.display_name, mailbox.addr_spec) for mailbox in header.addresses)
    return str(header)


def _without_folds(value: str | tuple[tuple[str, str], ...]) -> str | list[str]:
    """Leave white space out: Python 3.11 to 3.13 read a name of two encoded words with a space between."""
    if isinstance(value, str):
        return "".join(value.split())
    return ["".join(f"{name}<{address}>".split()) for name, address in value]
