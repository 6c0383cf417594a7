"""Templates: what is shipped, and what a person is told about one that is wrong."""

from collections.abc import Mapping
from functools import cache

import pytest

from invoicing.domain.errors import NotFoundError
from invoicing.domain.settings import DEFAULT_SUBJECT
from invoicing.rendering.errors import PartFaultError
from invoicing.rendering.fields import TemplateFields
from invoicing.rendering.sample import sample_mail, variables
from invoicing.rendering.templates import (
    INVOICE_CSS,
    INVOICE_HTML,
    MAIL_HTML,
    MAIL_TEXT,
    Part,
    Template,
    environment,
    load_shipped,
    mail_variables,
    shipped_names,
)
from invoicing.rendering.validation import TemplateProblem, validate, validate_subject
from invoicing.words.failures import tell
from support.project import ROOT
from support.rendering import SOUND


def problems_of(**changed: str) -> list[TemplateProblem]:
    parts: Mapping[str, str] = {**SOUND, **{name.replace("_", "."): text for name, text in changed.items()}}
    return validate(parts)


@pytest.mark.parametrize("name", shipped_names())
def test_what_is_shipped_has_no_problem_and_no_warning(name: str) -> None:
    template = load_shipped(name)

    for fields in (template.fields, TemplateFields()):
        assert validate(template.parts, DEFAULT_SUBJECT, template.folder, fields=fields) == []


@pytest.mark.parametrize("name", ["nothing", "", "..", "../templates/default", "default/"])
def test_an_unknown_template_is_named(name: str) -> None:
    with pytest.raises(NotFoundError, match="there are: banner, default"):
        load_shipped(name)


def test_a_template_lacks_no_part() -> None:
    with pytest.raises(NotFoundError, match=r"mail\.txt"):
        Template("half", 1, {MAIL_HTML: "", INVOICE_HTML: "", INVOICE_CSS: ""})


# Part, source, line of the fault, and words of what is said of it.
FAULTS = [
    ("mail_html", "<p>\n{% if %}", 2, "Expected an expression"),
    ("mail_html", "<p>\n\n{{ tennant.name }}", 3, "unknown variable 'tennant'"),
    ("mail_txt", "{% if false %}\n{{ nobody }}\n{% endif %}", 2, "unknown variable 'nobody'"),
    ("mail_txt", "a\n{{ tenant.nmae }}", 2, "nmae"),
    ("invoice_html", "a\nb\n{{ invoice.totl|money('COP') }}", 3, "totl"),
    ("invoice_html", "{% for line in invoice.lines %}\n{{ line.amuont }}\n{% endfor %}", 2, "amuont"),
    ("invoice_html", "\n{{ ''.__class__ }}", 2, "not allowed"),
    ("invoice_html", "\n{% include 'x' %}", 2, "cannot include"),
    ("invoice_html", "\n{{ invoice.total|mony }}", 2, "mony"),
    ("invoice_html", '\n<img src="file:///etc/passwd">', 2, "'file:///etc/passwd' is blocked"),
    ("invoice_html", '\n<img src="https://x.example/a.png">', 2, "'https://x.example/a.png' is blocked"),
    ("invoice_html", '\n<img src="a.png">', 2, "'a.png' is blocked"),
    ("invoice_html", "\n<style>@import 'http://x.example/a.css';</style>", 2, "is blocked"),
    ("invoice_css", "p {}\np { background: url(http://x.example/a.png) }", 2, "is blocked"),
    ("mail_html", '\n<img src="file:///etc/passwd">', 2, "'file:///etc/passwd' is blocked"),
    ("mail_html", '\n<img src="http://x.example/a.png">', 2, "loads nothing from elsewhere"),
    (
        "mail_html",
        '<p>\n<p style="background: url(http://x.example/)">',
        2,
        "loads nothing from elsewhere",
    ),
    (
        "mail_html",
        "<style>\n@import 'http://x.example/a.css';</style>",
        2,
        "loads nothing from elsewhere",
    ),
    ("mail_html", "\n<script>x</script>", 2, "no place in a message"),
    ("mail_html", '\n<p onclick="x">', 2, "no place in a message"),
    ("mail_html", '\n<a href="javascript:x">', 2, "javascript:x"),
    ("mail_txt", "\n{{ t('Hola {name}', 'Hello {name}') }}", 2, "no value for {name}"),
]


# What a template may not call, and why.
CALLS = [
    # The clock, a time zone: another invoice with each try, or on each machine.
    "{{ first_due_on.today() }}",
    "{{ first_due_on.min.today() }}",
    "{{ (first_due_on|attr('today'))() }}",
    "{% set f = first_due_on.today %}{{ f() }}",
    "{{ [first_due_on.today][0]() }}",
    "{{ first_due_on.fromtimestamp(0) }}",
    # A number in, so many bytes out.
    "{{ 1 .to_bytes(1000000, 'big') }}",
    "{{ 'x'.ljust(1000000) }}",
    "{{ 'x'.rjust(1000000, '-') }}",
    "{{ 'x'.center(1000000) }}",
    "{{ '1'.zfill(1000000) }}",
    "{{ '\t'.expandtabs(1000000) }}",
    "{{ totals[0].amount.scaleb(999999)|int }}",
    "{{ totals[0].amount.shift(27) }}",
    "{{ dict.fromkeys(range(9), 'x') }}",
    "{{ 'x'.translate({120: 'y'}) }}",
]


def printed(source: str) -> str:
    return Part(environment(), MAIL_TEXT, source).render(mail_variables(sample_mail(), TemplateFields()))


@pytest.mark.parametrize("source", CALLS)
def test_what_reads_a_clock_or_swells_is_not_called(source: str) -> None:
    with pytest.raises(PartFaultError) as caught:
        printed(source)

    assert (caught.value.line, caught.value.fault.code) == (1, "template_act_forbidden")


@pytest.mark.parametrize(
    "source",
    [
        "{{ first_due_on.strftime('%d/%m/%Y') }} {{ first_due_on.isoformat() }} {{ first_due_on.weekday() }}",
        "{{ first_due_on.replace(day=1) }} {{ first_due_on.year }} {{ 'x'.upper() }} {{ 'a b'.split() }}",
        "{{ tenant.name.ljust(40) }}|{{ '7'.zfill(8) }}|{{ 'x'.center(1000) }}|{{ 'a\tb'.expandtabs(8) }}",
        "{{ agency.payment_instructions.splitlines() }} {{ period.following.first_day }} {{ '{:>9}'.format(1) }}",
        "{{ totals[0].amount.quantize(1) }} {{ range(3)|list }} {{ dict(a=1).items()|list }} {{ cycler(1, 2).next() }}",
        "{% macro m(x) %}{{ caller() }}{% endmacro %}{% call m(1) %}x{% endcall %}",
    ],
)
def test_what_a_document_is_written_with_is_called(source: str) -> None:
    assert printed(source)


@cache
def problems_with_faults(number: int) -> list[TemplateProblem]:
    """The problems of a template with the n-th fault of each part: a check takes a second, and reads all parts."""
    faulty: dict[str, str] = {}
    for part in {part for part, *_ in FAULTS}:
        sources = [source for of, source, *_ in FAULTS if of == part]
        faulty |= {part: sources[number]} if number < len(sources) else {}
    problems = problems_of(**faulty)
    assert {problem.part for problem in problems} == {part.replace("_", ".") for part in faulty}
    return problems


@pytest.mark.parametrize(("part", "source", "line", "words"), FAULTS)
def test_a_problem_is_named_with_its_part_and_line(part: str, source: str, line: int, words: str) -> None:
    number = [other for of, other, *_ in FAULTS if of == part].index(source)
    problems = [each for each in problems_with_faults(number) if each.part == part.replace("_", ".")]

    assert any(problem.line == line and words in problem.message for problem in problems), problems
    assert not any(problem.is_warning for problem in problems)


@pytest.mark.parametrize(
    ("part", "source", "words"),
    [
        ("mail_txt", "{{ nobody }}", "no existe la variable «nobody»; existen agency, tenant,"),
        ("mail_txt", "{{ tenant.nmae }}", "«nmae» no existe"),
        ("mail_txt", "{{ invoices[7] }}", "«7» no existe"),
        ("mail_txt", "{{ tenant['{0} {part}'] }}", "«{0} {part}» no existe"),
        ("mail_txt", "{{ ''.__class__ }}", "no se permite usar «__class__»"),
        ("mail_txt", "{% include 'x' %}", "una parte no puede incluir ni extender otra"),
        (
            "mail_txt",
            "{{ t('Hola {name}', 'Hi {name}') }}",
            "a t() le falta el valor de {name} en 'Hola {name}'",
        ),
        ("mail_txt", "{% iff %}", "etiqueta desconocida «iff»"),
        ("mail_txt", "{% if period %}", "falta cerrar una etiqueta antes del final"),
        ("mail_txt", "{{ tenant|mony }}", "no existe el filtro «mony»"),
        ("mail_txt", "{{ } }}", "«}» no se espera aquí"),
        ("mail_txt", "{{ tenant name }}", "se esperaba «end of print statement» y hay «name»"),
        ("mail_txt", "{{ 1 / 0 }}", "falla al imprimirse: ZeroDivisionError"),
        ("mail_html", "<script>x</script>", "<script> no tiene lugar en un correo"),
        ("mail_html", '<p onclick="x">', "onclick: los scripts no tienen lugar en un correo"),
        ("mail_html", '<a href="javascript:x">', "el enlace 'javascript:x' no empieza con https://"),
        ("mail_html", '<img src="http://x.example/a.png">', "está bloqueado: un correo no carga nada"),
        ("invoice_html", '<img src="a.png">', "'a.png' está bloqueado: solo se leen data: y archivos"),
        ("invoice_css", "p { colr: red }", "se ignora «colr: red »"),
    ],
)
@pytest.mark.one_in(3)
def test_an_editor_is_told_in_spanish_too(part: str, source: str, words: str) -> None:
    told = [tell(problem, "es") for problem in problems_of(**{part: source})]

    assert any(words in text for text in told), told


def test_css_that_is_ignored_is_a_warning() -> None:
    problems = problems_of(invoice_css="p {\n  colr: red;\n}")

    assert [(problem.line, problem.is_warning) for problem in problems] == [(2, True)]


def test_every_broken_part_is_reported_at_once() -> None:
    problems = problems_of(mail_html="{{ a }}", mail_txt="{{ b }}", invoice_html="{{ c }}")

    assert {problem.part for problem in problems} == {MAIL_HTML, MAIL_TEXT, INVOICE_HTML}


def test_links_pictures_inside_and_unset_branches_are_fine() -> None:
    html = (
        '<a href="https://x.example">a</a><a href="mailto:a@x.example">b</a><img src="data:image/gif;base64,R0lGOD">'
        "{% if period %}{% set what = 1 %}{% endif %}{% if period %}{{ what }}{% endif %}"
    )
    assert problems_of(mail_html=html) == []


def test_a_subject_alone_is_checked() -> None:
    template = load_shipped()

    assert validate_subject(DEFAULT_SUBJECT, template) == []
    [problem] = validate_subject("Hola {{ tenat.name }}", template)
    assert (problem.part, problem.line) == ("subject", 1)
    [problem] = validate_subject("{{ agency.payment_instructions }}", template)
    assert "line break" in problem.message


def test_an_editor_is_told_which_variables_there_are() -> None:
    names = dict(variables(INVOICE_HTML))

    assert names["invoice.total"] == "4931884"
    assert names["invoice.lines[0].tax_rate"] == "0.19"
    assert names["agency.name"] == "Inmobiliaria de Muestra S.A.S."
    assert "invoices[0].filename" in dict(variables(MAIL_TEXT))
    assert "invoice.number" not in dict(variables("subject"))
    assert dict(variables(MAIL_HTML, load_shipped().fields))["texts.payment_note"].startswith("Si ya realizó")
    assert not [name for name in dict(variables("subject")) if name.startswith(("texts", "look"))]


def test_the_picture_folder_of_a_shipped_template_is_its_own() -> None:
    folder = load_shipped().folder

    assert folder is not None
    assert (folder / INVOICE_HTML).is_file()
    assert folder.parent == ROOT / "include" / "templates"
