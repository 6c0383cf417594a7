"""What is installed: locked with hashes, and listed with its licences."""

import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from support.project import ROOT

HASH = "--hash=sha256:" + "0" * 64


def script(name: str) -> ModuleType:
    """A program of bin/, as a module."""
    found = importlib.util.spec_from_file_location(name, ROOT / "bin" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def check_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """bin/check_lock.py, in a folder of its own."""
    module = script("check_lock")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.mark.parametrize(
    "lock", ["constraints.txt", "constraints-image.txt", "constraints-sbom.txt", "requirements-uv.txt"]
)
def test_every_file_of_the_lock_has_its_hash_and_no_address(lock):
    check = script("check_lock")

    assert list(check.unverified(lock)) == []
    assert list(check.read(lock))
    assert not re.search(r"://|index-url|@ ", (ROOT / lock).read_text(encoding="utf-8"))


def test_nothing_beside_airflow_makes_each_of_its_processes_begin_later():
    """jsonschema, which Airflow imports, builds a grammar for two seconds as soon as it finds this package."""
    assert "rfc3987-syntax" not in {pin.name for pin in script("check_lock").read("constraints.txt")}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("babel==2.18.0", "has no hash"),
        (f"babel==2.18.0 {HASH[:-1]}", "has no hash"),
        ("babel==2.18.0 --hash=md5:00000000000000000000000000000000", "has no hash"),
        (f"babel @ https://files.example.com/babel.whl {HASH}", "an address"),
        ("--index-url https://packages.example.com/simple", "an option"),
    ],
)
def test_a_lock_that_could_bring_another_file_is_refused(check_lock, tmp_path, line, complaint):
    (tmp_path / "lock.txt").write_text(f"anyio==4.16.0 \\\n    {HASH}\n{line}\n")

    (found,) = check_lock.unverified("lock.txt")

    assert complaint in found


def test_lines_that_a_backslash_continues_are_one(check_lock, tmp_path):
    (tmp_path / "lock.txt").write_text(
        f"# a comment\ncolorama==0.4.6 ; sys_platform == 'win32' \\\n    {HASH}\n"
    )

    (pin,) = check_lock.read("lock.txt")

    assert (pin.name, str(pin.specifier), str(pin.marker)) == (
        "colorama",
        "==0.4.6",
        'sys_platform == "win32"',
    )


def test_set_up_takes_nothing_that_was_not_locked():
    setup = (ROOT / "bin" / "setup").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = [line for line in setup.splitlines() if "pip install" in line]

    assert len(installs) == 3
    assert all("--require-hashes" in line for line in installs)


def test_a_changed_file_is_not_installed(tmp_path):
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (pin,) = re.findall(r"^iniconfig==\S+(?: \\\n    --hash=\S+)+", lock, re.MULTILINE)
    (tmp_path / "wanted.txt").write_text(pin.split(" ")[0])
    (tmp_path / "lock.txt").write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, pin))
    uv = str(ROOT / ".venv" / "bin" / "uv")
    subprocess.run([uv, "venv", "--quiet", str(tmp_path / "venv")], check=True)
    command = [
        uv,
        "pip",
        "install",
        "--python",
        str(tmp_path / "venv" / "bin" / "python"),
        "--require-hashes",
    ]

    done = subprocess.run(
        [*command, "-r", str(tmp_path / "wanted.txt"), "-c", str(tmp_path / "lock.txt")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "hash" in done.stderr.lower()


def test_licences_that_ask_for_more_than_to_be_named_are_shown():
    need_a_look = script("licences").need_a_look
    packages = [
        {"Name": name, "Version": "1", "License": licence}
        for name, licence in {
            "a": "MIT License",
            "b": "Apache-2.0",
            "c": "GNU Lesser General Public License v3 (LGPLv3)",
            "d": "Mozilla Public License 2.0 (MPL 2.0)",
            "e": "UNKNOWN",
            "f": "BSD-3-Clause",
            "g": "GPL-2.0-or-later",
        }.items()
    ]

    assert [line.split(" ")[0] for line in need_a_look(packages)] == ["c", "d", "e", "g"]


def test_the_bill_of_materials_names_all_that_the_image_has_and_nothing_else(tmp_path):
    done = subprocess.run(
        [str(ROOT / "bin" / "sbom"), "--no-validate"],
        env={**os.environ, "INVOICING_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    bill = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    licences = json.loads((tmp_path / "licences.json").read_text(encoding="utf-8"))
    named = {
        component["name"].lower().replace("_", "-"): component["version"] for component in bill["components"]
    }
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {"apache-airflow", "apache-airflow-providers-fab", "weasyprint", "psycopg", "nh3"} <= set(named)
    assert not {"pytest", "ruff", "mypy", "playwright", "hypothesis"} & set(named)
    locked = {
        pin.name.lower().replace("_", "-"): next(iter(pin.specifier)).version
        for pin in script("check_lock").read("constraints-image.txt")
        if pin.marker is None or pin.marker.evaluate()
    }
    assert named == locked
    listed = {package["Name"].lower().replace("_", "-").replace(".", "-") for package in licences}
    assert {name.replace(".", "-") for name in named} <= listed
    assert re.search(r"^\d+ packages, \d+ with a licence that needs a look:$", done.stdout, re.MULTILINE)
