"""What is wrong with a template, as its editor is told."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from invoicing.rendering.validation import Problem
from invoicing.words import Text

_SPANISH: Sequence[tuple[str, str]] = (
    (r"unknown variable '(.+)'; known are (.*)", "no existe la variable «{0}»; existen {1}"),
    (r"it took longer than ([\d.]+) s; .*", "tarda más de {0} s: busque un ciclo sin fin"),
    (r"it prints more than (\d+) MB", "imprime más de {0} MB"),
    (
        r"it has (\d+) characters?, (?:at most )?(\d+) (?:are|is) allowed",
        "tiene {0} caracteres y se admiten {1}",
    ),
    (r"not allowed: .*?'(\w+)'.*", "no se permite usar «{0}»"),
    (r"not allowed: (.*)", "no se permite: {0}"),
    (r"'(.+)' is undefined", "«{0}» no existe"),
    (r"'.*' has no attribute '(.+)'", "«{0}» no existe"),
    (
        r"(['\"].+['\"]) is blocked: only data: .*",
        "{0} está bloqueado: solo se leen data: y archivos de la propia plantilla",
    ),
    (r"(['\"].+['\"]) is blocked: a message .*", "{0} está bloqueado: un correo no carga nada de otra parte"),
    (r"<(\w+) ?>? has no place in a message", "<{0}> no tiene lugar en un correo"),
    (r"(\w+): scripts have no place in a message", "{0}: los scripts no tienen lugar en un correo"),
    (r"link ('.+') starts with none of (.*)", "el enlace {0} no empieza con {1}"),
    (r"a part cannot include or extend another one", "una parte no puede incluir ni extender otra"),
    (r"the template nests too deeply", "la plantilla anida demasiado"),
    (r"the rendering process died .*", "pide más memoria de la permitida"),
    (r"Encountered unknown tag '(.+?)'.*", "etiqueta desconocida «{0}»"),
    (r"Unexpected end of template.*", "falta cerrar una etiqueta antes del final"),
    (r"No filter named '(.+)'.*", "no existe el filtro «{0}»"),
    (r"unexpected '(.+)'", "«{0}» no se espera aquí"),
    (r"expected token '(.+)', got '(.+)'", "se esperaba «{0}» y hay «{1}»"),
    (r"Ignored `(.+?)` at .*", "se ignora «{0}»"),
    (r"mail readers show no SVG .*", "los lectores de correo no muestran SVG: use PNG o JPEG"),
    (r"an SVG picture with a DOCTYPE .*", "se bloquea una imagen SVG con DOCTYPE: expórtela como SVG plano"),
    (r"its CSS cannot be inlined: (.*)", "su CSS no se puede incorporar: {0}"),
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A problem in words.

    Args:
        field: Of the form: the part with ``_`` for ``.``.
    """

    part: str
    field: str
    line: int | None
    text: Text
    is_warning: bool


def field_of(part: str) -> str:
    """The form field that a part is typed in."""
    return part.replace(".", "_")


def in_words(problems: Sequence[Problem]) -> list[Complaint]:
    """Every problem in both languages, errors first."""
    ordered = sorted(problems, key=lambda problem: problem.is_warning)
    return [
        Complaint(each.part, field_of(each.part), each.line, spoken(each.message), each.is_warning)
        for each in ordered
    ]


def spoken(message: str) -> Text:
    """One of the rendering's messages in both languages; one that is not known stays English."""
    for pattern, spanish in _SPANISH:
        found = re.fullmatch(pattern, message, re.DOTALL)
        if found:
            groups = (group or "" for group in found.groups())
            return spanish.format(*groups), message
    return message, message
