"""The agency's settings: what they are, their bounds, and their defaults."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from invoicing.domain.address import problem
from invoicing.domain.eligibility import SendPolicy
from invoicing.domain.errors import InputError
from invoicing.domain.typed import fault_of, not_an_address
from invoicing.words.failures import Fault

DEFAULT_SUBJECT = (
    "{{ t('Factura de arriendo', 'Rent invoice') }}{% if period %}, {{ period|month_name }}{% endif %}"
    "{% if agency.name %} – {{ agency.name }}{% endif %}"
)

_BETWEEN_DOMAINS = re.compile(r"[\s,;]+")

# What goes into a mail header or a document's heading.
OneLine = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]

PREFIX_PATTERN = "[A-Za-z0-9-]{0,12}"
"""Of what stands before the numbers of a series."""

Prefix = Annotated[str, StringConstraints(pattern=f"^{PREFIX_PATTERN}$")]


class Settings(BaseModel):
    """Every setting of one version; immutable, like the version it is kept in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auto_send: bool = Field(False, description="Send invoices by e-mail at all")
    subject: Annotated[
        str, StringConstraints(strip_whitespace=True, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")
    ] = Field(DEFAULT_SUBJECT, description="Subject of the message, with variables")
    template: OneLine = Field("default", min_length=1, description="Template of the message and the invoice")
    recipients: Literal["all", "multiple_only"] = Field(
        "all", description="Every tenant with invoices, or only those with more than one"
    )
    grouping: Literal["per_tenant", "per_invoice"] = Field(
        "per_tenant", description="One message a tenant, or one an invoice"
    )
    due_days: int = Field(5, ge=0, le=90, description="Days from the issue of an invoice to its due date")
    invoice_prefix: Prefix = Field("FV-", description="What stands before an invoice's number")
    credit_prefix: Prefix = Field("NC-", description="What stands before a credit note's number")
    agency_name: OneLine = Field("", description="Issuer of the invoices")
    agency_nit: OneLine = Field("", description="Issuer's tax number")
    agency_address: OneLine = ""
    agency_city: OneLine = ""
    agency_phone: OneLine = ""
    agency_email: OneLine = ""
    agency_logo: Annotated[
        str,
        StringConstraints(
            max_length=400_000, pattern=r"^(data:image/(png|jpeg|svg\+xml);base64,[A-Za-z0-9+/=]+)?$"
        ),
    ] = Field("", description="Logo as a data: URI (PNG, JPEG or SVG, base64)")
    payment_instructions: Annotated[str, StringConstraints(max_length=2000)] = Field(
        "", description="How to pay, printed on every invoice"
    )
    from_email: OneLine = Field("", description="Sender's address")
    from_name: OneLine = Field("", description="Sender's name; empty: the agency's")
    reply_to: OneLine = Field("", description="Where answers go; empty: to the sender")
    per_minute_limit: int = Field(
        0, ge=0, le=100_000, description="Messages within any 60 seconds, all workers together; 0: no limit"
    )
    messages_per_connection: int = Field(
        50, ge=1, le=10_000, description="Messages before the connection to the relay is renewed"
    )
    largest_batch: int = Field(
        1_000, ge=1, le=10_000, description="Messages that one task instance sends at the most"
    )

    unmailed_documents: bool = Field(
        True, description="Make the PDFs of invoices that nobody is mailed too, after the mail"
    )

    approval: Literal["never", "always", "changed"] = Field(
        "never", description="Whether a person approves what a monthly run is about to send"
    )
    approval_change_percent: int = Field(
        20,
        ge=0,
        le=1000,
        description="With changed: by how many per cent something has to differ to be asked about",
    )
    approval_reminder_hours: int = Field(
        4,
        ge=1,
        le=720,
        description="Hours that a month waits for an approval before the operator is reminded",
    )
    approval_deadline_hours: int = Field(
        24,
        ge=1,
        le=720,
        description="Hours after which the operator is told that it waits still; it waits on",
    )

    doubt_policy: Literal["hold", "resend_after"] = Field(
        "hold",
        description="A delivery in doubt waits for a person, or goes out again (at least once, maybe twice)",
    )
    doubt_minutes: int = Field(
        60, ge=1, le=10_080, description="Minutes in doubt before resend_after sends again"
    )
    operator_email: OneLine = Field("", description="Who is told when a run ends with doubt or failure")
    test_domains: OneLine = Field(
        "", description="Domains that test messages may go to, beside a person's own address; empty: none"
    )

    @field_validator("from_email", "reply_to", "agency_email", "operator_email")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        why = problem(value) if value else None
        if why:
            raise not_an_address(why)
        return value

    @field_validator("test_domains")
    @classmethod
    def _are_domains(cls, value: str) -> str:
        domains = list(
            dict.fromkeys(each.removeprefix("@").lower() for each in _BETWEEN_DOMAINS.split(value))
        )
        for domain in filter(None, domains):
            if problem(f"x@{domain}"):
                raise PydanticCustomError(
                    "value_not_a_domain", "'{domain}' is not a domain", {"domain": domain}
                )
        return ", ".join(filter(None, domains))

    @field_validator("invoice_prefix", "credit_prefix")
    @classmethod
    def _leaves_numbers_apart(cls, value: str, given: ValidationInfo) -> str:
        # Only where it is changed: numbers have been made with one that stands.
        before: Settings | None = (given.context or {}).get("before")
        if before is None or value == getattr(before, str(given.field_name)):
            return value
        if _ends_in_digit(value):
            raise PydanticCustomError(
                "prefix_ends_in_digit", str(Fault("prefix_ends_in_digit", prefix=value)), {"prefix": value}
            )
        return value

    @field_validator("credit_prefix")
    @classmethod
    def _is_another_series(cls, value: str, given: ValidationInfo) -> str:
        # Likewise: invoices may have had it for long when this setting came up.
        before: Settings | None = (given.context or {}).get("before")
        if before is None or before.invoice_prefix == before.credit_prefix == value:
            return value
        if value == given.data.get("invoice_prefix"):
            raise PydanticCustomError(
                "prefixes_equal", str(Fault("prefixes_equal", prefix=value)), {"prefix": value}
            )
        return value

    @property
    def doubtful(self) -> list[Fault]:
        """What is in force and would be refused today."""
        if _ends_in_digit(self.invoice_prefix):
            return [Fault("prefix_in_force_ends_in_digit", prefix=self.invoice_prefix)]
        return []

    @property
    def test_domain_list(self) -> tuple[str, ...]:
        """`test_domains`, one by one."""
        return tuple(filter(None, self.test_domains.split(", ")))

    @property
    def policy(self) -> SendPolicy:
        """The settings that decide who gets mail."""
        return SendPolicy(self.auto_send, self.recipients)

    def validated(self, changes: Mapping[str, Any]) -> Self:
        """The settings with ``changes``, each value within its bounds; raises pydantic's `ValidationError`."""
        return type(self).model_validate({**self.model_dump(), **changes}, context={"before": self})

    def changed(self, changes: dict[str, Any]) -> Self:
        """A new version with ``changes``, values as typed by a person (``yes``, ``30``) or as JSON.

        Raises:
            InputError: An unknown key, a value out of bounds, or sending turned on while something that a
                message needs is missing; every problem is named.
        """
        unknown = sorted(set(changes) - set(type(self).model_fields))
        if unknown:
            raise InputError(
                "settings_unknown", unknown=", ".join(unknown), known=", ".join(type(self).model_fields)
            )
        try:
            changed = self.validated(changes)
        except ValidationError as error:
            problems = [
                Fault(
                    "setting_refused",
                    setting=".".join(map(str, each["loc"])),
                    given=_shown(each["input"]),
                    problem=fault_of(each),
                    message=each["msg"],
                )
                for each in error.errors()
            ]
            raise InputError("settings_refused", problems=problems) from None
        if changed.auto_send and not changed.subject:
            raise InputError("settings_subject_missing")
        return changed


def _ends_in_digit(prefix: str) -> bool:
    """Whether two series may give one number: FV-2027 and 1, FV- and 20271."""
    return prefix[-1:].isdecimal()


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
