"""Say which licences of var/licences.json need a look: those that ask for more than to be named.

What is installed beside a program and left as it is asks for little; what is changed, or shipped with it, may ask more.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# Copyleft, of files or of the whole; data and fonts; and what nobody says.
_A_LOOK = re.compile(
    r"GPL|General Public|MPL|Mozilla|EUPL|CDDL|EPL|Eclipse|OFL|CC-BY|Artistic|UNKNOWN|Proprietary",
    re.IGNORECASE,
)


def need_a_look(packages: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """One line for each package whose licence a person should read."""
    for package in packages:
        if _A_LOOK.search(package["License"]):
            yield f"{package['Name']} {package['Version']}: {package['License']}"


def main(arguments: Sequence[str]) -> int:
    """Print the counts and the packages."""
    packages = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    look = list(need_a_look(packages))
    print(f"{len(packages)} packages, {len(look)} with a licence that needs a look:")
    for line in look:
        print(f"  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
