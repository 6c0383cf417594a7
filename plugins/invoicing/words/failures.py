"""What went wrong, in words: each failure has a code, and its values go where the braces are.

``{name!r}`` quotes a value, ``{name:state}`` gives a state of the ledger in words. A value may be a failure itself,
or several: it is told in the same language.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from invoicing.words import Language, Text, choose
from invoicing.words.ledger import STATES


@runtime_checkable
class Failure(Protocol):
    """Anything with a code and values: an error, or one of the problems that an error lists."""

    @property
    def code(self) -> str:
        """A key of `FAILURES`."""

    @property
    def values(self) -> Mapping[str, object]:
        """What its words speak of, by name."""


FAILURES: Mapping[str, Text] = {
    # domain
    "period_malformed": (
        "el período {text!r} no tiene la forma AAAA-MM, por ejemplo 2026-11",
        "period {text!r} is not of the form YYYY-MM, for example 2026-11",
    ),
    # services.agency
    "import_rejected": (
        "no se importó nada; {count} problema(s) por corregir:",
        "nothing was imported; {count} problem(s) to mend:",
    ),
    "import_under_way": (
        "otra importación lleva más de un minuto: repita esta cuando aquella termine",
        "another import has been running for more than a minute: repeat this one when it has ended",
    ),
    "folder_unreadable": (
        "no se puede leer la carpeta {folder}: {reason}",
        "folder {folder} cannot be read: {reason}",
    ),
    "folder_without_files": (
        "la carpeta {folder} no tiene ninguno de los archivos {files}",
        "folder {folder} has none of the files {files}",
    ),
    "file_unreadable": ("no se puede leer {path}: {reason}", "{path} cannot be read: {reason}"),
    # services.agency, a file and its lines; the place comes before
    "file_is_utf16": (
        "el archivo está en UTF-16: guárdelo como CSV UTF-8",
        "the file is UTF-16: save it as CSV UTF-8",
    ),
    "file_empty": (
        "el archivo está vacío: su primera línea debe nombrar las columnas {columns}",
        "the file is empty: its first line must name the columns {columns}",
    ),
    "columns_without_commas": (
        "las columnas no están separadas por comas: guarde el archivo como CSV con comas",
        "the columns are not separated by commas: save the file as CSV with commas",
    ),
    "column_twice": ("el encabezado tiene dos veces esta columna", "the header has this column twice"),
    "column_unknown": (
        "columna desconocida; las que existen son {known}",
        "unknown column; known are {known}",
    ),
    "column_missing": ("al encabezado le falta esta columna", "the header lacks this column"),
    "row_not_utf8": (
        "el byte {byte} de la línea (0x{octet:02x}) no es UTF-8: guarde el archivo como CSV UTF-8",
        "byte {byte} of the line (0x{octet:02x}) is not UTF-8: save the file as CSV UTF-8",
    ),
    "row_too_long": ("tiene más de {most} caracteres", "longer than {most} characters"),
    "quote_not_closed": (
        "hay una comilla que no se cierra en su línea",
        "a quote is not closed on its line",
    ),
    "quote_inside_value": (
        'hay una comilla dentro de un valor: ponga el valor entre comillas y duplique las de adentro ("")',
        'a quote stands inside a value: put the value in quotes and double the quotes in it ("")',
    ),
    "row_of_other_width": (
        "{values} valores donde el encabezado tiene {columns} columnas",
        "{values} values where the header has {columns} columns",
    ),
    # services.agency, a value of a file
    "row_value_repeated": ("ya está en la línea {first}", "line {first} has it already"),
    "row_value_empty": ("no puede quedar vacío", "must not be empty"),
    "row_value_too_long": ("tiene más de {most} caracteres", "longer than {most} characters"),
    "row_value_not_a_choice": ("debe ser {opciones}", "must be {choices}"),
    "row_value_refused": ("no es válido: {message}", "{message}"),
    "contains_line_break": ("contiene un salto de línea", "contains a line break"),
    "contains_nul": ("contiene un carácter NUL", "contains a NUL character"),
    "contains_control_character": (
        "contiene un tabulador u otro carácter de control",
        "contains a tab or another control character",
    ),
    "unseen_character": (
        "contiene un carácter que no se ve ({text!a})",
        "contains a character that cannot be seen ({text!a})",
    ),
    "not_yes_or_no": ("debe ser 'yes' (sí) o 'no'", "must be 'yes' or 'no'"),
    "not_yes_no_or_empty": ("debe ser 'yes' (sí), 'no' o vacío", "must be 'yes', 'no' or empty"),
    "not_a_date": ("no es una fecha (AAAA-MM-DD)", "not a date (YYYY-MM-DD)"),
    "no_such_day": (
        "no es una fecha (AAAA-MM-DD): ese día no existe en el calendario",
        "not a date (YYYY-MM-DD): the calendar has no such day",
    ),
    "date_too_early": ("es una fecha anterior a {earliest}", "a date before {earliest}"),
    "not_a_month": (
        "no es un mes entre 2000-01 y 2199-12 (AAAA-MM)",
        "not a month between 2000-01 and 2199-12 (YYYY-MM)",
    ),
    "ends_before_start": ("es anterior a {column} ({start})", "before {column} ({start})"),
    "not_a_number": (
        "no es un número: cifras, punto antes de los decimales y nada entre los miles",
        "not a number: digits, a point before decimals, nothing between thousands",
    ),
    "too_many_decimals": ("tiene más de {most} decimales", "more than {most} decimals"),
    "number_too_large": (
        "está fuera de rango: debe ser menor que {limit:f}",
        "out of range: must be less than {limit:f}",
    ),
    "number_negative": ("no puede ser negativo", "must not be negative"),
    "not_a_fraction": (
        "debe ser una fracción, desde 0 y menor que 1 (0.19 es el 19 %)",
        "must be a fraction, at least 0 and less than 1 (0.19 for 19 %)",
    ),
    "not_a_currency": ("debe ser una de {known}", "must be one of {known}"),
    "city_missing": (
        "no puede quedar vacío: el reteica lo cobra una ciudad",
        "must not be empty: reteica is levied by a city",
    ),
    "city_unexpected": (
        "debe quedar vacío: {tax} es igual en todas las ciudades",
        "must be empty: {tax} is the same in every city",
    ),
    "rate_in_force_already": (
        "la línea {line} tiene una tarifa de {tax} que rige ese día",
        "line {line} has a rate of {tax} in force on that day",
    ),
    "city_rate_in_force_already": (
        "la línea {line} tiene una tarifa de {tax} de {city} que rige ese día",
        "line {line} has a rate of {tax} of {city} in force on that day",
    ),
    "row_of_unknown_tenant": (
        "no existe ese tercero: no se ha importado antes ni está en tenants.csv",
        "unknown tenant, neither imported before nor in tenants.csv",
    ),
    "row_of_unknown_lease": (
        "no existe ese contrato: no se ha importado antes ni está en leases.csv",
        "unknown lease, neither imported before nor in leases.csv",
    ),
    "address_stops_mail": (
        "no es una dirección de correo válida; mientras no se corrija, al tercero {tenant} no se le envía nada",
        "{reason}; tenant {tenant} gets no mail until it is mended",
    ),
    "maybe_thousands": (
        "se leyó como un número con tres decimales, no como miles",
        "read as a number with three decimals, not as thousands",
    ),
    # services.agency, its settings and templates
    "settings_version_unknown": (
        "no existe la versión {version} de los ajustes",
        "there is no settings version {version}",
    ),
    "settings_changed_meanwhile": (
        "no se cambiaron los ajustes: {actor} guardó entretanto la versión {version}; mírela y vuelva a guardar",
        "settings not changed: {actor} saved version {version} in the meantime; look at it, then save again",
    ),
    "subject_refused": ("no se cambiaron los ajustes: {problems}", "settings not changed: {problems}"),
    "template_not_among": (
        "no existe la plantilla {template!r}; las que hay son {known}",
        "there is no template {template!r}; known are {known}",
    ),
    "template_unknown": (
        "no existe la plantilla {template!r}: revise el nombre",
        "there is no template {template!r}",
    ),
    "template_has_no_such_version": (
        "la plantilla {template!r} no tiene la versión {version}",
        "template {template!r} has no version {version}",
    ),
    "template_version_unknown": (
        "no existe la versión de plantilla {version}",
        "there is no template version {version}",
    ),
    "template_name_malformed": (
        "no se admite el nombre {template!r}: use letras minúsculas de la a a la z, cifras, - y _, máximo 40",
        "template name {template!r}: use small letters a to z, digits, - and _, at most 40",
    ),
    "template_name_taken": (
        "ya existe una plantilla {template!r}: elija otro nombre",
        "there is a template {template!r} already",
    ),
    "template_refused": ("no se guardó la plantilla: {problems}", "template not saved: {problems}"),
    "template_changed_meanwhile": (
        "no se guardó la plantilla {template}: {actor} guardó entretanto la versión {version}; mírela y repita",
        "template {template} not saved: {actor} saved version {version} in the meantime; look at it, then save again",
    ),
    "logo_too_heavy": (
        "El archivo pesa más de {kilobytes} kB: redúzcalo.",
        "The file is over {kilobytes} kB: make it smaller.",
    ),
    "logo_too_large": (
        "La imagen mide {width} × {height}: redúzcala a {most} píxeles por lado.",
        "The picture has {width} × {height} pixels: at most {most} a side.",
    ),
    "logo_of_unknown_kind": ("Elija una imagen PNG, JPEG o SVG.", "Choose a PNG, JPEG or SVG picture."),
    "logo_svg_malformed": (
        "El SVG no es XML válido: {reason}",
        "The SVG is not well-formed XML: {reason}",
    ),
    "logo_svg_refused": (
        "El SVG contiene {found}: expórtelo como SVG plano, o use PNG.",
        "The SVG contains {found}: export it as plain SVG, or use PNG.",
    ),
    # services.agency, its tenants
    "tenant_address_refused": (
        "{field}: {address!a} no es una dirección de correo: corríjala o quítela",
        "{field}: {address!a} is not an e-mail address: {reason}",
    ),
    "tenant_addresses_too_many": ("{field}: máximo {most} direcciones", "{field}: at most {most} addresses"),
    "tenant_changed_meanwhile": (
        "no se cambió el tercero {tenant}: alguien más, o una importación, lo cambió entretanto; mírelo y repita",
        (
            "tenant {tenant} not changed: somebody else or an import changed it in the meantime; "
            "look at it, then save again"
        ),
    ),
    "tenant_not_editable": (
        "aquí no se puede cambiar {unknown}; sí {editable}",
        "{unknown} cannot be changed here; {editable} can",
    ),
    "language_unknown": (
        "language: {language!r} no es ni es ni en",
        "language: {language!r} is neither es nor en",
    ),
    "switch_incomplete": (
        "elija qué cambiar, y a cuáles terceros",
        "choose what to switch, and the tenants to switch it for",
    ),
    "switch_changed_meanwhile": (
        "no se cambió ningún tercero: entretanto serían otros los que cambian; mírelos de nuevo",
        "no tenant was changed: which ones would be has changed in the meantime; look at them again",
    ),
    # services.billing
    "run_never_opened": (
        "la ejecución nunca se abrió: falló su primera tarea, vea el registro de esa",
        "the run was never opened: its first task failed, see that one's log",
    ),
    "run_not_in_database": (
        "la ejecución {run} no está en la base de datos de facturación: limpie la tarea open_cycle",
        "there is no run {run} in the business database: clear the task open_cycle",
    ),
    "lease_not_billable": ("contrato {lease}: {reason}", "lease {lease}: {reason}"),
    "reason_missing": (
        "escriba el motivo: queda con lo que usted decide",
        "give a reason: it is kept with what you decide",
    ),
    "single_invoice_unknown": (
        "no existe la factura individual {reference!r}: no se cambió nada",
        "there is no single invoice {reference!r}: nothing was changed",
    ),
    "single_invoice_undecided": (
        "sobre la factura individual {reference!r} no se ha decidido todavía: no se cambió nada",
        "single invoice {reference!r} was not skipped (not decided on yet): nothing was changed",
    ),
    "single_invoice_not_skipped": (
        "la factura individual {reference!r} sí se envía: no se cambió nada",
        "single invoice {reference!r} was not skipped (send): nothing was changed",
    ),
    "tenant_has_no_such_lease": (
        "el tercero {tenant} no tiene el contrato {lease!r}",
        "tenant {tenant} has no lease {lease!r}",
    ),
    "total_not_positive": (
        "su total es {total}; una factura se emite por más de cero",
        "its total is {total}; an invoice is for more than nothing",
    ),
    "other_line_of_invoice_differs": (
        "la línea {line} de la misma invoice_ref {reference} tiene {expected!r}",
        "line {line} of the same invoice_ref {reference} has {expected!r}",
    ),
    # services.delivery
    # services.views
    "cycle_unknown": (
        "no existe el ciclo {period}: revise el mes en la lista de ciclos",
        "there is no cycle {period}",
    ),
    "cycle_not_opened": (
        "todavía no existe el ciclo {period}: lo abre bin/invoicing run --period {period}",
        "there is no cycle {period} yet: bin/invoicing run --period {period} makes it",
    ),
    "tenant_unknown": (
        "no existe el tercero {tenant!r}: revise el código",
        "there is no tenant {tenant!r}",
    ),
    "tenant_code_with_nul": (
        "no existe un tercero con un NUL en su código: revise el código",
        "there is no tenant with a NUL in its code",
    ),
    "tenant_not_in_cycle": (
        "el tercero {tenant} no tiene ninguna factura en el ciclo {period}",
        "tenant {tenant} has no invoice in cycle {period}",
    ),
    "delivery_unknown": (
        "no existe el envío {delivery}: revise el número",
        "there is no delivery {delivery}",
    ),
    "delivery_state_unknown": (
        "no existe el estado de envío {state!r}; use uno de estos: {known}",
        "there is no delivery state {state!r}; known are {known}",
    ),
    "invoice_unknown": (
        "no existe la factura {number!r}: revise el número",
        "there is no invoice {number!r}",
    ),
    "invoice_without_document": (
        "la factura {number} todavía no tiene documento: se genera antes de enviarla",
        "invoice {number} has no document yet",
    ),
    "run_unknown": (
        "no existe la ejecución {run!r}: revise el enlace",
        "there is no run {run!r}",
    ),
    "tenant_without_invoice": (
        "el tercero {tenant} no tiene factura en {period}, ni se le generaría: elija otro mes u otro tercero",
        "tenant {tenant} has no invoice in {period}, and would have none",
    ),
    "previews_busy": (
        "se están haciendo otras vistas previas: intente de nuevo en un momento",
        "other previews are being made: try again in a moment",
    ),
    "trial_without_address": (
        "escriba la dirección a la que se envía la prueba",
        "type the address to send the test to",
    ),
    "trial_address_invalid": (
        "{address!r} no es una dirección de correo: escriba una sola, y válida",
        "{why}",
    ),
    "trial_without_sender": (
        "no hay dirección de remitente: ponga from_email en los ajustes o en la conexión",
        "there is no sender's address: set from_email, or from_email in the connection",
    ),
    # rendering
    # mail
    # db, stack, Airflow's API
    # command line
    # web
}

ROW_PLACES: Mapping[str, Text] = {
    "line": ("{file} línea {line}", "{file} line {line}"),
    "column": ("{file} línea {line}, columna {column}", "{file} line {line}, column {column}"),
    "value": (
        "{file} línea {line}, columna {column}, valor {value}",
        "{file} line {line}, column {column}, value {value}",
    ),
    "invoice": (
        "{file} línea {line}, invoice_ref {invoice_ref!r}",
        "{file} line {line}, invoice_ref {invoice_ref!r}",
    ),
    "left_out": ("… y {left_out} más ({count} en total)", "… and {left_out} more ({count} in all)"),
}
"""Where in an input file something is wrong."""


def tell(failure: Failure, language: Language = "en") -> str:
    """The failure in words."""
    if failure.code not in FAILURES:  # not yet a code: the words themselves
        return failure.code
    return _Formatter(language).vformat(choose(FAILURES[failure.code], language), (), failure.values)


class _Formatter(string.Formatter):
    def __init__(self, language: Language) -> None:
        self._language = language

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        if isinstance(value, Failure):
            return tell(value, self._language)
        if (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and value
            and isinstance(value[0], Failure)
        ):
            return "; ".join(tell(each, self._language) for each in value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "state":
            return choose(STATES.get(str(value), (str(value), str(value))), self._language).lower()
        formatted: str = super().format_field(value, format_spec)
        return formatted
