"""Templates that were written to get out, to take everything, or to be told of at length."""

import time
from collections.abc import Sequence
from itertools import zip_longest

import pytest

from invoicing.db.connection import Database
from invoicing.domain.settings import DEFAULT_SUBJECT
from invoicing.rendering.assignment import Limits
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.mail import MailRenderer
from invoicing.rendering.sample import sample_invoice, sample_mail
from invoicing.rendering.templates import (
    INVOICE_HTML,
    MAIL_HTML,
    MAIL_TEXT,
    PARTS,
    SUBJECT,
    Template,
)
from invoicing.rendering.validation import TemplateProblem, validate
from invoicing.services.agency.templates import current_template
from invoicing.web.html.template_problems import field_of
from invoicing.words.failures import FAILURES, tell
from support.hostile import Entry, Watch, corpus
from support.rendering import SOUND
from support.visiting import open_app

# A bomb takes all of its time.
LIMITS = Limits(seconds=1.5, memory_bytes=256 * 2**20, output_bytes=2 * 2**20)
# What is harmless must not be late on a busy machine.
PATIENT = Limits(seconds=20, memory_bytes=256 * 2**20, output_bytes=2 * 2**20)
# A child's start, and what each of five parts may take, on a busy machine.
MOST_SECONDS = 40
MOST_PROBLEMS = 100
LONGEST_WORDS = 1500
OVER_TIME = {"template_too_slow"}
# What an answer may weigh, over what was sent.
LARGEST_ANSWER_BYTES = 1_000_000

TEMPLATES = corpus("templates")
Round = Sequence[Entry]


def rounds(*, refused: bool, over_a_limit: bool = False) -> list[Round]:
    """The templates by rounds, one of each part in a round: a check takes a second, and reads all parts."""
    chosen = [
        entry
        for entry in TEMPLATES.values()
        if entry.get("refused", True) == refused and ("over" in entry.told) == over_a_limit
    ]
    by_part = [[entry for entry in chosen if entry["part"] == part] for part in (SUBJECT, *PARTS)]
    return [[entry for entry in together if entry] for together in zip_longest(*by_part)]


REFUSED, BOMBS, HARMLESS = (
    rounds(refused=True),
    rounds(refused=True, over_a_limit=True),
    rounds(refused=False),
)


def sources(entries: Round, watch: Watch) -> dict[str, str]:
    return {SUBJECT: DEFAULT_SUBJECT, **SOUND} | {
        entry["part"]: watch.place(entry["source"]) for entry in entries
    }


def check(entries: Round, watch: Watch, limits: Limits) -> dict[str, list[TemplateProblem]]:
    """The problems of each entry, by its name; whatever was tried, they are few, short, and have words."""
    parts = sources(entries, watch)
    subject = parts.pop(SUBJECT)
    started = time.monotonic()
    problems = validate(parts, subject, limits=limits)
    assert time.monotonic() - started < MOST_SECONDS
    assert len(problems) <= MOST_PROBLEMS * len(parts)
    for problem in problems:
        told = tell(problem, "es"), tell(problem, "en")
        assert problem.code in FAILURES
        assert max(map(len, told)) <= LONGEST_WORDS, problem.code
        watch.assert_nothing_out(*told)
    return {entry.name: [each for each in problems if each.part == entry["part"]] for entry in entries}


def test_there_are_fifty_and_more():
    assert len(TEMPLATES) >= 50


@pytest.mark.parametrize("entries", REFUSED, ids=map(str, range(len(REFUSED))))
@pytest.mark.one_in(3)
def test_what_is_hostile_is_refused_with_a_code(entries: Round, watch: Watch):
    found = check(entries, watch, PATIENT)

    codes = {
        name: {each.code for each in problems if not each.is_warning} for name, problems in found.items()
    }
    assert {name: told for name, told in codes.items() if not told - OVER_TIME} == {}


# Each takes all the time there is: the first one stands for all.
@pytest.mark.parametrize("entries", BOMBS, ids=map(str, range(len(BOMBS))))
@pytest.mark.one_in(len(BOMBS))
def test_what_takes_everything_is_refused_with_a_code(entries: Round, watch: Watch):
    found = check(entries, watch, LIMITS)

    assert [name for name, problems in found.items() if all(each.is_warning for each in problems)] == []


@pytest.mark.parametrize("entries", HARMLESS, ids=map(str, range(len(HARMLESS))))
@pytest.mark.one_in(2)
def test_what_may_be_saved_makes_something_small_that_shows_nothing(entries: Round, watch: Watch):
    found = check(entries, watch, PATIENT)

    refused = {name: [each for each in problems if not each.is_warning] for name, problems in found.items()}
    assert {name: problems for name, problems in refused.items() if problems} == {}
    parts = sources(entries, watch)
    subject = parts.pop(SUBJECT)
    template = Template("hostile", 1, parts)
    with MailRenderer(template, subject, PATIENT) as mails, InvoiceRenderer(template, PATIENT) as invoices:
        mail = mails.render(sample_mail())
        try:
            pdf = invoices.render(sample_invoice())
        except RenderFailedError as error:
            pdf = str(error).encode()
    made = (mail.subject, mail.text, mail.html, pdf)
    watch.assert_nothing_out(*made)
    assert max(map(len, made)) < LARGEST_ANSWER_BYTES
    assert mail.subject.isprintable()


@pytest.mark.long
def test_what_is_wrong_is_told_in_answers_of_bearable_size(dsn: str, db: Database, watch: Watch):
    """Three parts of 28 characters made a page of 171 MB."""
    current_template(db, "default")
    huge = {MAIL_HTML: "x", MAIL_TEXT: "y", INVOICE_HTML: "z"}
    typed = {field_of(part): f'{{{{ tenant["{letter}"*99999999] }}}}' for part, letter in huge.items()}
    many = {**SOUND, MAIL_TEXT: TEMPLATES["nine hundred unknown names"]["source"]}
    with open_app(dsn, watch.file.parent / "archive") as app:
        editor = app.as_editor()
        page = editor.submit("/templates/default", typed | {"seen_version": "1"})
        put = editor.ask("PUT", "/templates/default", {"parts": many, "seen_version": 1})

    assert (page.status_code, put.status_code) == (422, 422)
    assert max(len(page.content), len(put.content)) < LARGEST_ANSWER_BYTES
    watch.assert_nothing_out(page.content, put.content)
    details = put.json()
    assert details["code"] == "template_refused"
    assert {(each["field"], each["code"]) for each in details["errors"]} == {
        (MAIL_TEXT, "template_variable_unknown")
    }
