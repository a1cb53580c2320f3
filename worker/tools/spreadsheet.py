"""Write a spreadsheet (.xlsx)."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Annotated, Any

from openpyxl import Workbook
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from pydantic import BaseModel, Field

from worker.tools.registry import Effect, ToolContext, ToolError, tool

Cell = str | int | float | bool | None
_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class Sheet(BaseModel):
    """One sheet: a title, a header row and rows as long as it."""

    title: Annotated[str, Field(min_length=1, max_length=31, pattern=r"^[^\[\]:*?/\\]+$")]
    header: Annotated[list[str], Field(min_length=1, max_length=200)]
    rows: Annotated[list[list[Cell]], Field(max_length=100_000)]


@tool(Effect.REPEATABLE)
async def write_spreadsheet(
    ctx: ToolContext,
    path: Annotated[str, Field(pattern=r"\.xlsx$", description="ends in .xlsx")],
    sheets: Annotated[list[Sheet], Field(min_length=1, max_length=50)],
) -> dict[str, Any]:
    """Write an Excel workbook, inside your write scope. Cells are plain values; formulas are not taken."""
    for sheet in sheets:
        for number, row in enumerate(sheet.rows, 1):
            if len(row) != len(sheet.header):
                raise ToolError(f"row {number} of {sheet.title!r} has {len(row)} cells, the header {len(sheet.header)}")
    if len({sheet.title for sheet in sheets}) != len(sheets):
        raise ToolError("two sheets have the same title")
    data = await asyncio.to_thread(_workbook, sheets)
    await asyncio.to_thread(ctx.workspace.write, path, data, ctx.write_scope)
    return {"written": path, "size": len(data), "rows": {sheet.title: len(sheet.rows) for sheet in sheets}}


def _workbook(sheets: list[Sheet]) -> bytes:
    book = Workbook()
    book.remove(book.active)
    for sheet in sheets:
        page = book.create_sheet(sheet.title)
        lines: list[list[Cell]] = [list(sheet.header), *sheet.rows]
        for row in lines:
            page.append([_plain(value) for value in row])
        for cells in page.iter_rows():
            for cell in cells:
                if isinstance(cell.value, str):
                    # text stays text, also when it begins like a formula
                    cell.data_type = "s"
                    cell.quotePrefix = cell.value[:1] in "=+-@\t" and bool(cell.value)
        for cell in page[1]:
            cell.font = Font(bold=True)
        page.freeze_panes = "A2"
        page.auto_filter.ref = page.dimensions
        for number, title in enumerate(sheet.header, 1):
            longest = max([len(title), *(len(str(row[number - 1])) for row in sheet.rows[:200])])
            page.column_dimensions[get_column_letter(number)].width = min(60, longest + 3)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _plain(value: Cell) -> Cell:
    return _ILLEGAL.sub("", value)[:32_767] if isinstance(value, str) else value
