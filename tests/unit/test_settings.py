import pytest

from invoicing.domain.errors import InputError
from invoicing.domain.settings import Settings


def test_a_new_installation_sends_nothing() -> None:
    assert Settings().auto_send is False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auto_sent": "yes"}, r"unknown setting\(s\) auto_sent; known are auto_send, subject"),
        ({"recipients": "some"}, "recipients=some"),
        ({"auto_send": "perhaps"}, "auto_send=perhaps"),
        ({"due_days": "-1"}, "due_days=-1"),
        ({"per_minute_limit": "many"}, "per_minute_limit=many"),
        ({"subject": "a\nBcc: x@y.example"}, "subject="),
        ({"from_email": "a@@b"}, "from_email=a@@b"),
        ({"from_name": "x\r\ny"}, "from_name="),
        ({"agency_logo": "https://evil.example/x.png"}, "agency_logo="),
        ({"invoice_prefix": "FV-2027"}, "invoice_prefix=FV-2027: The prefix 'FV-2027' ends in a digit"),
        ({"auto_send": "yes", "subject": " "}, "subject is empty while auto_send is on"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings().changed(changes)


def test_values_may_be_as_a_person_types_them() -> None:
    changed = Settings().changed({"auto_send": "yes", "due_days": "10", "recipients": "multiple_only"})
    assert (changed.auto_send, changed.due_days, changed.recipients) == (True, 10, "multiple_only")


def test_a_prefix_that_ends_in_a_digit_works_until_it_is_changed_and_is_told_of() -> None:
    """FV-2027 and 1 would be FV- and 20271. An agency that has one has numbers made with it."""
    kept = Settings(invoice_prefix="FV-2027")

    assert kept.changed({"due_days": "10", "invoice_prefix": "FV-2027"}).due_days == 10
    (told,) = kept.doubtful
    assert str(told).startswith("invoice_prefix: the prefix in force, 'FV-2027', ends in a digit")
    with pytest.raises(InputError, match="ends in a digit"):
        kept.changed({"invoice_prefix": "FV-2028"})
    assert kept.changed({"invoice_prefix": "FV-2028-"}).doubtful == []
