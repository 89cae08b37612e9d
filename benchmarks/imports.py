"""Import the libraries that a run with nothing to do imports, and do nothing else.

    python benchmarks/imports.py MODULES               # import what stands in that file
    python benchmarks/imports.py --of HOME MODULES     # run nightdrop there and write down what it imported

So a run with nothing to do can be told from the libraries that it loads.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

OURS = ("flows", "pipelines", "validation", "api", "__main__")


def main() -> None:
    """Import, or write down what to import."""
    match sys.argv[1:]:
        case ["--of", home, modules]:
            from flows.cli import call
            from flows.process import leave_test_libraries_alone

            leave_test_libraries_alone()
            code = call(["--home", home, "--json", "run"])
            names = [name for name in sys.modules if _is_library(name)]
            Path(modules).write_text("\n".join(names), encoding="utf-8")
            sys.exit(code)
        case [modules]:
            for name in Path(modules).read_text(encoding="utf-8").split():
                importlib.import_module(name)


def _is_library(name: str) -> bool:
    top = name.partition(".")[0]
    spec = getattr(sys.modules[name], "__spec__", None)
    # What a library makes up while it runs (lazy stand-ins, vendored aliases) is imported with the library.
    return top not in OURS and top not in sys.stdlib_module_names and spec is not None and spec.name == name


if __name__ == "__main__":
    main()
