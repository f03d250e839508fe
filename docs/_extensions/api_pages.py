"""Pages of the Python API: one per package, found by walking the package, so that none is listed by hand."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path
from types import GenericAlias

from sphinx.application import Sphinx

import hpc_sparse

PACKAGE = "hpc_sparse"
MARKER = "<!-- api pages -->"

STARTS = "__main__"
"""File that starts the command when it is imported."""

PUBLIC = ", ".join(hpc_sparse.__all__)
"""Names that the package itself offers; each is imported at its first use."""

BAR = re.compile(r"(``.*?``|`[^`]*`|\\\|)|\|")
"""Code and escaped bars, or any other bar."""

GENERATED = re.compile(r"set_\w+_request")


def modules_by_package(root: Path) -> dict[str, list[str]]:
    """Names of the modules in each package of the source tree, the package itself first."""
    found: dict[str, list[str]] = {}
    for file in sorted((root / PACKAGE).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        package = ".".join(parts[:-1])
        modules = found.setdefault(package, [package])
        name = ".".join(parts)
        if parts[-1] not in ("__init__", STARTS) and _can_be_imported(name):
            modules.append(name)
    return found


def _can_be_imported(module: str) -> bool:
    """Whether the libraries of a module are installed (PyTorch often is not)."""
    try:
        import_module(module)
    except ImportError as error:
        if (error.name or PACKAGE).partition(".")[0] == PACKAGE:
            raise
        return False
    return True


def page(root: Path, package: str, modules: list[str]) -> str:
    """The page of a package in reStructuredText; a package whose docstring is all it has is a heading."""
    lines = [_heading(package.removeprefix(f"{PACKAGE}."), "=")]
    for module in modules:
        if module != package:
            lines += [_heading(module.removeprefix(f"{package}."), "-")]
        members = PUBLIC if module == PACKAGE else _own_names(root, package) if module == package else ""
        lines += [f".. automodule:: {module}", "   :undoc-members:", "   :show-inheritance:"]
        if members is not None:
            lines += [f"   :members: {members}".rstrip()]
        lines += [""]
    return "\n".join(lines)


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _own_names(root: Path, package: str) -> str | None:
    """Public functions and classes of a package's own file; what it passes on has its place in another module."""
    tree = ast.parse((root / Path(*package.split(".")) / "__init__.py").read_text(encoding="utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return ", ".join(name for name in names if not name.startswith("_")) or None


def write_pages(app: Sphinx) -> None:
    """Write the pages that have changed and remove those of packages that are gone."""
    if not app.config.api_pages:
        return
    folder = Path(app.srcdir) / "reference" / "api"
    folder.mkdir(exist_ok=True)
    for name in hpc_sparse.__all__:
        setattr(hpc_sparse, name, getattr(hpc_sparse, name))
    root = Path(app.srcdir).parent
    pages = {f"{name}.rst": page(root, name, modules) for name, modules in modules_by_package(root).items()}
    for name, text in pages.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
    for file in folder.glob("*.rst"):
        if file.name not in pages:
            file.unlink()


def insert_list(app: Sphinx, document: str, source: list[str]) -> None:
    """List the pages in place of a marker."""
    if app.config.api_pages and MARKER in source[0]:
        source[0] = source[0].replace(MARKER, "```{toctree}\n:glob:\n:maxdepth: 1\n\napi/*\n```")


def escape_bars(app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    """Keep the bars of |weight|, which reStructuredText takes for a substitution."""
    lines[:] = [BAR.sub(lambda found: found.group(1) or "\\|", line) for line in lines]


def skip_generated(app: Sphinx, what: str, name: str, item: object, skip: bool, options: object) -> bool | None:
    """Leave out the methods that scikit-learn adds to estimators, whose text refers to its own pages."""
    return True if GENERATED.fullmatch(name.rpartition(".")[2]) else None


def keep_alias(app: Sphinx, what: str, name: str, item: object, *rest: object) -> tuple[None, None] | None:
    """No signature for an alias such as ``tuple[int, int]``: numpydoc would give it that of ``tuple``."""
    return (None, None) if isinstance(item, GenericAlias) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.add_config_value("api_pages", True, "env")
    app.connect("builder-inited", write_pages)
    app.connect("source-read", insert_list)
    for priority in (400, 600):  # before numpydoc, and after it, which inserts the text of properties
        app.connect("autodoc-process-docstring", escape_bars, priority=priority)
    app.connect("autodoc-process-signature", keep_alias, priority=400)
    app.connect("autodoc-skip-member", skip_generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
