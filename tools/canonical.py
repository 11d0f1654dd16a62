"""A hash of Python code that every version of Python agrees on. Standard library only."""

import ast
import hashlib
from collections.abc import Iterable
from typing import Any


def canonical(node: Any) -> str:
    """A syntax tree as text: types and fields, without positions.

    `ast.dump` names fields that one version has and another has not (type parameters
    since 3.12) and leaves out empty ones since 3.13: here None and empty lists are
    always left out, and the empty text that 3.12 puts into some f-strings.
    """
    if isinstance(node, ast.JoinedStr):
        node.values = [v for v in node.values if getattr(v, "value", None) != ""]
    if isinstance(node, ast.AST):
        fields = (f"{name}={canonical(part)}" for name, part in ast.iter_fields(node)
                  if part is not None and part != [])
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(canonical, node))}]"
    return repr(node)


def digest(sources: Iterable[str]) -> str:
    """Hash of the syntax trees of pieces of code: comments and layout do not count."""
    total = hashlib.sha256()
    for source in sources:
        total.update(canonical(ast.parse(source)).encode())
    return total.hexdigest()[:16]
