"""Code generator of chat templates: copies, joins and prints go through the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame

_SUMMANDS = 4


class BoundedCodeGenerator(CodeGenerator):
    """Code generator whose code is counted: calls go through the environment already."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._place_in_sum: dict[int, int] = {}
        """Of nodes that are summands of others, by id."""

    def visit_Add(self, node: nodes.BinExpr, frame: Frame) -> None:
        # A sum of texts is counted once, for speed, or for every few summands of a long one.
        place = self._place_in_sum.pop(id(node), 0)
        if isinstance(node.left, nodes.Add):
            self._place_in_sum[id(node.left)] = (place + 1) % _SUMMANDS
        if place:
            super().visit_Add(node, frame)
        else:
            self._through("copied", super().visit_Add, node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("concat((")
        for part in node.nodes:
            self._print(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if isinstance(node.arg, nodes.Slice):
            self._through("copied", super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def _through(
        self,
        function: str,
        visit: Callable[[Any, Frame], None],
        node: nodes.Expr,
        frame: Frame,
    ) -> None:
        self.write(f"environment.{function}(")
        visit(node, frame)
        self.write(")")

    def _print(self, node: nodes.Expr, frame: Frame) -> None:
        finalize = self._make_finalize()
        self._output_child_pre(node, frame, finalize)
        self.visit(node, frame)
        self._output_child_post(node, frame, finalize)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        super()._output_child_pre(node, frame, finalize)
        if not _is_text(node):
            self.write("printed if isinstance((printed := ")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if not _is_text(node):
            self.write("), str) else environment.text_of(printed)")
        super()._output_child_post(node, frame, finalize)


def _is_text(node: nodes.Node) -> bool:
    """Whether a value is sure to be a text, or an error."""
    if isinstance(node, nodes.Const):
        return isinstance(node.value, str)
    if isinstance(node, nodes.Add):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, (nodes.Concat, nodes.TemplateData))
