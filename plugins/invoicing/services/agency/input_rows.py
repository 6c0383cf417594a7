"""The columns of each input file and what may stand in them (docs/contract.md, section 4)."""

import datetime
import re
from decimal import Decimal
from typing import Annotated, ClassVar, LiteralString

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from invoicing.domain.errors import InputError
from invoicing.domain.lease import ChargeTax, Language, Use
from invoicing.domain.period import Period
from invoicing.domain.taxes import CURRENCIES, TaxName

_EARLIEST_YEAR = 1900
_TOO_LARGE = Decimal(1_000_000_000_000)
# 2.500.000 without its second point is 2.500: a number all right, and a thousandth of what was meant.
_LIKE_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}")


def _wrong(code: LiteralString, **values: object) -> PydanticCustomError:
    """A value that cannot be: pydantic keeps the code and what its words speak of, and raises nothing else."""
    return PydanticCustomError(code, code, values)


def _is_code(value: str) -> str:
    if not value.isprintable():
        raise _wrong("unseen_character", text=value)
    return value


def _address_list(value: str) -> tuple[str, ...]:
    addresses = (address.strip() for address in value.split(";"))
    return tuple(dict.fromkeys(address for address in addresses if address))


def _switch(value: str) -> bool:
    if value not in ("yes", "no"):
        raise _wrong("not_yes_or_no")
    return value == "yes"


def _optional_switch(value: str) -> bool | None:
    if value not in ("yes", "no", ""):
        raise _wrong("not_yes_no_or_empty")
    return value == "yes" if value else None


def _day(value: str) -> datetime.date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise _wrong("not_a_date")
    try:
        day = datetime.date.fromisoformat(value)
    except ValueError:
        raise _wrong("no_such_day") from None
    if day.year < _EARLIEST_YEAR:
        raise _wrong("date_too_early", earliest=_EARLIEST_YEAR)
    return day


def _optional_day(value: str) -> datetime.date | None:
    return _day(value) if value else None


def _optional_period(value: str) -> Period | None:
    try:
        return Period.parse(value) if value else None
    except InputError:
        raise _wrong("not_a_month") from None


def _decimal(value: str, decimals: int) -> Decimal:
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        raise _wrong("not_a_number")
    if "." in value and len(value.rpartition(".")[2]) > decimals:
        raise _wrong("too_many_decimals", most=decimals)
    number = Decimal(value)
    if abs(number) >= _TOO_LARGE:
        raise _wrong("number_too_large", limit=_TOO_LARGE)
    return number or Decimal(0)  # no negative zero


def _amount(value: str) -> Decimal:
    return _decimal(value, decimals=4)


def _amount_not_negative(value: str) -> Decimal:
    amount = _amount(value)
    if amount < 0:
        raise _wrong("number_negative")
    return amount


def _fraction(value: str) -> Decimal:
    fraction = _decimal(value, decimals=8)
    if not 0 <= fraction < 1:
        raise _wrong("not_a_fraction")
    return fraction


def _known_currency(value: str) -> str:
    if value not in CURRENCIES:
        raise _wrong("not_a_currency", known=", ".join(sorted(CURRENCIES)))
    return value


Code = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_is_code)]
OptionalCode = Annotated[str, StringConstraints(max_length=64), AfterValidator(_is_code)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
OptionalText = Annotated[str, StringConstraints(max_length=500)]
AddressList = Annotated[tuple[str, ...], BeforeValidator(_address_list)]
Switch = Annotated[bool, BeforeValidator(_switch)]
OptionalSwitch = Annotated[bool | None, BeforeValidator(_optional_switch)]
Day = Annotated[datetime.date, BeforeValidator(_day)]
OptionalDay = Annotated[datetime.date | None, BeforeValidator(_optional_day)]
OptionalPeriod = Annotated[Period | None, PlainValidator(_optional_period)]
Amount = Annotated[Decimal, BeforeValidator(_amount)]
AmountNotNegative = Annotated[Decimal, BeforeValidator(_amount_not_negative)]
Fraction = Annotated[Decimal, BeforeValidator(_fraction)]
Currency = Annotated[str, AfterValidator(_known_currency)]


class InputRow(BaseModel):
    """A row of an input file; its fields are the file's columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount_columns: ClassVar[tuple[str, ...]] = ()
    """Columns with an amount of money."""


class TenantRow(InputRow):
    """``tenants.csv``; a switch that is None keeps what a known tenant has."""

    tenant_code: Code
    document_type: Text
    document_number: Text
    name: Text
    emails: AddressList
    cc_emails: AddressList
    language: Language
    city: OptionalText
    withholding_agent: Switch
    auto_send: OptionalSwitch
    only_multiple: OptionalSwitch


class LeaseRow(InputRow):
    """``leases.csv``; both dates inclusive, ``end_date`` None is open-ended."""

    amount_columns = ("rent",)

    lease_code: Code
    tenant_code: Code
    property: Text
    city: OptionalText
    use: Use
    start_date: Day
    end_date: OptionalDay
    rent: AmountNotNegative
    currency: Currency

    @field_validator("end_date")
    @classmethod
    def _ends_after_start(cls, end: datetime.date | None, info: ValidationInfo) -> datetime.date | None:
        start = info.data.get("start_date")
        if start and end and end < start:
            raise _wrong("ends_before_start", column="start_date", start=str(start))
        return end


class ChargeRow(InputRow):
    """``charges.csv``; both periods inclusive, None is unbounded; a negative ``amount`` is a discount."""

    amount_columns = ("amount",)

    lease_code: Code
    concept: Text
    description: Text
    amount: Amount
    tax: ChargeTax
    prorated: Switch
    from_period: OptionalPeriod
    to_period: OptionalPeriod

    @field_validator("to_period")
    @classmethod
    def _ends_after_start(cls, last: Period | None, info: ValidationInfo) -> Period | None:
        first = info.data.get("from_period")
        if first and last and last < first:
            raise _wrong("ends_before_start", column="from_period", start=str(first))
        return last


class TaxRateRow(InputRow):
    """``tax_rates.csv``; both dates inclusive, ``valid_to`` None is open-ended."""

    amount_columns = ("minimum_base",)

    tax: TaxName
    city: OptionalText
    rate: Fraction
    minimum_base: AmountNotNegative
    valid_from: Day
    valid_to: OptionalDay

    @field_validator("city")
    @classmethod
    def _only_reteica_has_a_city(cls, city: str, info: ValidationInfo) -> str:
        tax = info.data.get("tax")
        if tax == "reteica" and not city:
            raise _wrong("city_missing")
        if tax is not None and tax != "reteica" and city:
            raise _wrong("city_unexpected", tax=tax)
        return city

    @field_validator("valid_to")
    @classmethod
    def _ends_after_start(cls, end: datetime.date | None, info: ValidationInfo) -> datetime.date | None:
        start = info.data.get("valid_from")
        if start and end and end < start:
            raise _wrong("ends_before_start", column="valid_from", start=str(start))
        return end


def looks_like_thousands(value: str) -> bool:
    """Whether an amount such as ``2.500`` may have been meant as thousands."""
    return _LIKE_THOUSANDS.fullmatch(value) is not None
