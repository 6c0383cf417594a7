"""Which e-mail addresses are taken, and how they travel."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.domain import address as addresses
from invoicing.domain.address import invalid_addresses, problem, to_envelope
from invoicing.domain.errors import InputError


@pytest.mark.parametrize(
    ("address", "envelope"),
    [
        ("ana@correo.example", "ana@correo.example"),
        ("ana.maría+rentas@correo.test", "ana.maría+rentas@correo.test"),
        ("ana@peña.example", "ana@xn--pea-8ma.example"),
        ("ana@Correo.Example", "ana@correo.example"),
        ("Ana@correo.example", "Ana@correo.example"),
        ("o'higgins_1@sub.correo.com.co", "o'higgins_1@sub.correo.com.co"),
    ],
)
def test_an_address_travels_with_its_domain_in_ascii(address: str, envelope: str) -> None:
    assert problem(address) is None
    assert to_envelope(address) == envelope


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("a@x.test, b@evil.test", "','"),
        ("a@x, b@evil", "','"),
        ("a@x.test;b@evil.test", "';'"),
        ("a@x)b@y", r"'\)'"),
        ("<a@x><b@y>", "'<'"),
        ("Ana <a@x.test>", "display name"),
        ("a@@x", "'@'"),
        ("ana", "@-sign"),
        ("ana@correo", "period"),
        ("a@[127.0.0.1]", "IP address"),
        ("a@x.test\r\nBcc: b@evil.test", "line break"),
        ("a@x.test\n", "line break"),
        ("a\x00@x.test", "control character"),
        ("a@x.test\u2028", "line break"),
        ("\ud800@x.test", "control character"),
        ("=?utf-8?q?a?=@x.test", "encoded word"),
        ("a" * 293 + "@x.test", "too long: 300 characters"),
        ("a" * 65 + "@x.test", "too long"),
        ('"a b"@x.test', "Quoting"),
        ("a..b@x.test", "two periods"),
        (" a@x.test", "SPACE"),
        ("a@x.test ", "SPACE"),
        ("a\u202e@x.test", "RIGHT-TO-LEFT"),
        ("", "@-sign"),
    ],
    ids=ascii,
)
def test_what_could_be_more_than_an_address_is_none(address: str, reason: str) -> None:
    with pytest.raises(InputError, match="is not an e-mail address"):
        to_envelope(address)
    [found] = invalid_addresses([address])
    assert found.address == address
    assert re.search(reason, found.reason), found.reason


def test_invalid_addresses_are_listed_in_their_order() -> None:
    found = invalid_addresses(["b@@x.test", "ok@x.test", "a"])

    assert [entry.address for entry in found] == ["b@@x.test", "a"]
    assert all(entry.reason for entry in found)


@given(st.text(max_size=40) | st.from_regex(r"\A[ -~]{1,12}@[ -~]{1,16}\Z"))
def test_what_is_taken_is_one_address_on_one_line(address: str) -> None:
    if problem(address) is None:
        envelope = to_envelope(address)
        assert envelope.count("@") == 1
        assert envelope.partition("@")[2].isascii()
        assert not set(envelope) & set(' <>(),;:"[]\\\t\r\n\0')
        assert to_envelope(envelope) == envelope


WORD = st.text("abzABZ019", min_size=1, max_size=6)
LOCAL = st.tuples(
    WORD, st.lists(st.sampled_from("._+-").flatmap(lambda sign: WORD.map(sign.__add__)), max_size=3)
)
DOMAIN = st.lists(st.lists(WORD, min_size=1, max_size=3).map("-".join), min_size=1, max_size=3).map(".".join)


@given(
    LOCAL.map(lambda parts: parts[0] + "".join(parts[1])), DOMAIN, st.text("abzOX", min_size=1, max_size=12)
)
def test_what_is_taken_unasked_the_validator_takes_too(local: str, domain: str, name: str) -> None:
    address = f"{local}@{domain}.{name}"

    # `to_envelope` asks the validator alone.
    if problem(address) is None:
        to_envelope(address)
    else:
        assert addresses._PLAIN.fullmatch(address) is None or len(address) > addresses._PLAIN_LENGTH


@pytest.mark.parametrize("name", ["arpa", "Invalid", "local", "localhost", "onion"])
def test_names_of_a_special_use_are_no_plain_ones(name: str) -> None:
    assert problem(f"a@correo.{name}") is not None
    assert problem(f"a@{name}.example") is None
