"""The renderer is a cage: what code that broke out of a template's sandbox can do, tried from inside."""

import base64
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyseccomp
import pytest

from invoicing.rendering import forbidden_calls
from invoicing.rendering.assignment import Assignment, Limits
from invoicing.rendering.cage import CALLS, FILES, LAYERS, NETWORK, NOBODY, USER, CageReport
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.pictures import draw_pages
from invoicing.rendering.sample import sample_invoice, sample_mail
from invoicing.rendering.sandbox import TemplateProcess, look_at_cage
from invoicing.rendering.templates import load_shipped
from support import house
from support.project import PYTHON_PATH, TESTS
from support.rendering import pages_of, template_of

pytestmark = pytest.mark.faults

IS_ROOT = os.geteuid() == 0

# Who starts the renderer, and where: root in this checkout as it lies, which may be a folder that only root enters;
# root, and an ordinary user, where everybody can read it.
HOMES = ("root", "root in an open house", "ordinary user")

# What each layer refuses by itself. Where several refuse the same, each is there for machines without the others.
SPYING = {"read_parent_environment", "open_parent_memory", "copy_parent_memory", "trace_parent"}
REFUSED_BY = {
    USER: SPYING,
    NETWORK: {"connect_tcp", "send_udp", "connect_abstract_socket"},
    FILES: SPYING
    | {"read_parent_command_line", "signal_parent", "connect_tcp", "connect_abstract_socket"}
    | {"write_where_all_may", "write_a_file_of_its_user", "read_a_file_of_its_user"},
    CALLS: {"copy_parent_memory", "trace_parent", "signal_parent", "limit_parent"}
    | {"connect_tcp", "send_udp", "connect_socket_file", "connect_abstract_socket"}
    | {"fork", "run_a_program", "open_a_file_of_its_user_to_all", "mount_something", "become_root"}
    | {"set_up_io_uring", "type_into_a_terminal"},
}
# Root becomes somebody else; an ordinary user remains who it is, and is shut off from processes only.
REFUSED_TO_NOBODY = {"signal_parent", "limit_parent", "become_root"} | {
    "write_a_file_of_its_user", "read_a_file_of_its_user", "open_a_file_of_its_user_to_all",
}  # fmt: skip
# Root without its capabilities, which it gives up in any case.
REFUSED_TO_BARE_ROOT = SPYING
STILL_POSSIBLE = {"keep_a_file_in_scratch", "start_a_thread"}


@cache
def in_cell(home: str, layers: tuple[str, ...] | None, **more: Any) -> dict[str, Any]:
    """What a prisoner reports; ``layers`` are those that the machine gives, None for no cage at all."""
    command = [sys.executable, "-P", str(TESTS / "support" / "cell.py"), "guard"]
    if home == "ordinary user" and not IS_ROOT:
        pass
    elif not IS_ROOT:
        pytest.skip("only root can say what becomes of root")
    elif home != "root":
        command = in_open_house(command, home)
    program = forbidden_calls.compiled()
    sentence = {"layers": layers, "calls": base64.b64encode(program or b"").decode(), **more}
    done = subprocess.run(
        command, input=json.dumps(sentence), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def in_open_house(command: Sequence[str], home: str) -> list[str]:
    if not house.is_to_be_had():
        pytest.skip("util-linux's unshare and setpriv, and the right to mount, are needed")
    return house.in_open_house(command, as_stranger=home == "ordinary user")


def environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "PYTHONPATH": PYTHON_PATH,
        "PYTHONDONTWRITEBYTECODE": "1",
        "SECRET": "the-key-of-all-tokens",
    }


def refused(answer: dict[str, Any]) -> set[str]:
    return {act for act, outcome in answer["acts"].items() if outcome != "done"}


@cache
def possible_layers(home: str) -> tuple[str, ...]:
    """The layers that this machine gives, asked without the renderer; tests of others are skipped, and say so."""
    namespaces = ["unshare", "--net", "true"] if home in HOMES[:2] else ["unshare", "--user", "--net", "true"]
    if home != "root" and IS_ROOT:
        namespaces = in_open_house(namespaces, home)
    has_namespaces = subprocess.run(namespaces, capture_output=True, check=False).returncode == 0
    given = {CALLS}  # the tests' own set-up has libseccomp
    if landlock_version() >= 6:
        given.add(FILES)
    if has_namespaces:
        given.add(NETWORK)
    if has_namespaces or home in HOMES[:2]:
        given.add(USER)
    return tuple(layer for layer in LAYERS if layer in given)


def landlock_version() -> int:
    create_ruleset, version = 444, 1
    return int(ctypes.CDLL(None).syscall(create_ruleset, None, ctypes.c_size_t(0), version))


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_without_a_cage_all_of_it_can_be_done(home: str) -> None:
    alone_refused = {"become_root"} if home == "ordinary user" else set()

    assert refused(in_cell(home, None)) == alone_refused


def test_in_the_cage_nothing_of_it_can_be_done(home: str) -> None:
    if possible_layers(home) != LAYERS:
        pytest.skip(f"this machine gives {possible_layers(home)} only")
    answer = in_cell(home, LAYERS)

    assert refused(answer) == {*answer["acts"]} - STILL_POSSIBLE
    assert {answer["acts"][act] for act in STILL_POSSIBLE} == {"done"}
    report = CageReport.from_json(json.dumps(answer["report"]))
    assert report.missing == ()
    assert (report.parent_is_open, report.network_is_open) == (False, False)


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_holds_by_itself_what_it_is_there_for(home: str, layer: str) -> None:
    if layer not in possible_layers(home):
        pytest.skip(f"this machine gives {possible_layers(home)} only")
    expected = REFUSED_BY[layer]
    if home != "ordinary user":
        expected = expected | REFUSED_TO_BARE_ROOT | (REFUSED_TO_NOBODY if layer == USER else set())
    elif layer == NETWORK:
        pytest.skip("an ordinary user comes by a network namespace in a user namespace only")
    answer = in_cell(home, (layer,))
    if answer["report"]["reads_by_capability"]:
        expected -= {"read_a_file_of_its_user"}  # as the report says

    # What an ordinary user cannot do in any case is no merit of a layer's.
    assert refused(answer) - {"become_root"} == expected - {"become_root"}
    assert answer["report"]["layers"] == [layer]


def test_what_every_kernel_gives_is_given_up(home: str) -> None:
    status = in_cell(home, LAYERS)["status"]
    kept = 4 if in_cell(home, LAYERS)["report"]["reads_by_capability"] else 0

    assert {int(status[name], 16) for name in ("CapPrm", "CapEff")} == {kept}
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["dumpable"] == 0


# Docker, as it is set up, lets nobody make namespaces.
@pytest.mark.parametrize("missing", [*((layer,) for layer in LAYERS), (USER, NETWORK)])
def test_a_machine_that_lacks_a_layer_still_keeps_the_parents_secrets_and_the_network(
    home: str, missing: tuple[str, ...]
) -> None:
    if possible_layers(home) != LAYERS:
        pytest.skip(f"this machine gives {possible_layers(home)} only")
    answer = in_cell(home, tuple(layer for layer in LAYERS if layer not in missing))

    assert refused(answer) >= {"read_parent_environment", "open_parent_memory", "connect_tcp", "send_udp"}
    report = answer["report"]
    assert not report["parent_is_open"]
    assert not report["network_is_open"]
    assert not {*missing} & {*report["layers"]}


def test_what_is_open_is_reported(home: str) -> None:
    if home != "ordinary user":
        pytest.skip("root's child is no longer root, whatever the machine gives")

    report = in_cell(home, ())["report"]
    assert (report["parent_is_open"], report["network_is_open"]) == (True, True)
    assert in_cell(home, (CALLS,))["report"]["parent_is_open"]


def test_every_forbidden_call_answers_that_it_is_not_permitted() -> None:
    names = {name for group in forbidden_calls.FORBIDDEN.values() for name in group} | {"clone3"}
    numbers = {name: pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in names}
    # Calls that this processor's kernel never had have no number.
    present = {name: number for name, number in numbers.items() if number >= 0}
    assert len(present) > 100

    calls = in_cell("root" if IS_ROOT else "ordinary user", LAYERS, numbers=_Frozen(present))["calls"]

    assert calls == dict.fromkeys(present, "EPERM") | {"clone3": "ENOSYS"}


# It takes all processes that nobody's user may have: other tests' renderers, of the same user, have none meanwhile.
@pytest.mark.alone
def test_a_fork_bomb_is_bounded_where_seccomp_is_missing() -> None:
    home = "root"
    answer = in_cell(home, (USER,), forks=True)

    assert answer["report"]["layers"] == [USER]
    assert 0 < answer["forks"] < 520
    assert in_cell(home, LAYERS, forks=True)["forks"] in (0, None) or CALLS not in possible_layers(home)


class _Frozen(dict[str, int]):
    """An argument of a cached function."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


# The real child.


@pytest.fixture(params=["invoice", "mail", "proof"])
def child(request: pytest.FixtureRequest) -> Iterator[tuple[TemplateProcess, CageReport]]:
    with TemplateProcess(Assignment(request.param, load_shipped(), "-"), Limits()) as process:
        yield process, process.start("trial")


def test_the_real_child_is_in_the_cage(child: tuple[TemplateProcess, CageReport]) -> None:
    process, report = child
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    assert status["NoNewPrivs"] == ["1"]
    assert not report.parent_is_open
    assert not report.network_is_open
    assert (status["Seccomp"] == ["2"]) == (CALLS in report.layers)
    assert int(status["CapEff"][0], 16) == (4 if report.reads_by_capability else 0)
    if IS_ROOT:
        assert (status["Uid"] == [str(NOBODY)] * 4) == (USER in report.layers)
        assert status["Groups"] == []
        own = Path("/proc/self/ns/net").readlink()
        assert (Path(f"/proc/{process.pid}/ns/net").readlink() != own) == (NETWORK in report.layers)
    limits = [" ".join(line.split()) for line in Path(f"/proc/{process.pid}/limits").read_text().splitlines()]
    for limit in ("core file size 0 0", "file size 8388608 8388608", "open files 256 256"):
        assert any(line.startswith(f"Max {limit} ") for line in limits)


def test_this_machine_gives_all_layers_or_the_report_says_which_not() -> None:
    home = "root" if IS_ROOT else "ordinary user"

    assert look_at_cage().layers == possible_layers(home)


@pytest.mark.parametrize("home", HOMES[1:])
def test_the_real_child_works_for_whoever_starts_it(home: str, tmp_path: Path) -> None:
    if home == "ordinary user" and not IS_ROOT:
        command = [sys.executable, "-P", "-c", TRIAL]
    else:
        command = in_open_house([sys.executable, "-P", "-c", TRIAL], home)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "FV-1042" in told["text"]
    assert told["report"]["reads_by_capability"] is False
    assert told["report"]["layers"] == list(possible_layers(home))
    assert told["left_behind"] == []


TRIAL = """
import json, os, tempfile
from dataclasses import asdict
from pathlib import Path
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.sample import sample_invoice
from invoicing.rendering.sandbox import look_at_cage
from invoicing.rendering.templates import load_shipped
from support.rendering import pages_of

folder = tempfile.mkdtemp()
os.chmod(folder, 0o755)
os.environ["TMPDIR"] = tempfile.tempdir = folder
with InvoiceRenderer(load_shipped()) as renderer:
    pdf = renderer.render(sample_invoice())
report = asdict(look_at_cage())
left = os.listdir(folder)
os.rmdir(folder)
print(json.dumps({"text": pages_of(pdf)[0], "report": report, "left_behind": left}))
"""


def test_a_templates_own_font_is_found_in_the_cage(tmp_path: Path) -> None:
    fonts = [*Path("/usr/share/fonts").rglob("DejaVuSansMono.ttf")]
    assert fonts
    (tmp_path / "own.ttf").write_bytes(fonts[0].read_bytes())
    css = "@font-face { font-family: Own; src: url(own.ttf) } p { font-family: Own }"
    with InvoiceRenderer(template_of("<p>{{ invoice.number }}</p>", tmp_path, css)) as renderer:
        pdf = renderer.render(sample_invoice())

    assert pages_of(pdf)[0].startswith("FV-1042")
    fonts_of = subprocess.run(["pdffonts", "-"], input=pdf, capture_output=True, check=True)
    assert b"+Own " in fonts_of.stdout


def test_what_a_child_kept_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with TemplateProcess(Assignment("mail", load_shipped(), "-"), Limits()) as process:
        process.ask(sample_mail(), "a message")
        assert [*tmp_path.glob("rendering-*")]

    assert [*tmp_path.iterdir()] == []


def test_pages_are_drawn_in_the_cage_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with InvoiceRenderer(load_shipped()) as renderer:
        pdf = renderer.render(sample_invoice())
    assert draw_pages(pdf, "a document").pages == 1

    # Of what stands on its standard input, the cage comes first: with a program that refuses everything it ends.
    nothing = pyseccomp.SyscallFilter(pyseccomp.KILL_PROCESS)
    with tempfile.TemporaryFile() as file:
        nothing.export_bpf(file)
        file.seek(0)
        program = file.read()
    monkeypatch.setattr(forbidden_calls, "compiled", lambda: program)
    with pytest.raises(RenderFailedError):
        draw_pages(pdf, "a document")


def test_without_libseccomp_documents_are_made_and_the_report_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forbidden_calls, "compiled", lambda: None)

    report = look_at_cage()

    assert CALLS in report.missing
    assert not report.parent_is_open or FILES in report.missing


def test_several_children_at_once_have_a_cage_each() -> None:
    reports: list[CageReport] = []
    threads = [threading.Thread(target=lambda: reports.append(look_at_cage())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(reports) == 4
    assert len(set(reports)) == 1
