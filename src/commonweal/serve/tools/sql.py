"""SQL on a database of the user's as a tool of a chat. The tool's description has the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonweal.core.completion import Tool
from commonweal.core.errors import UserError
from commonweal.core.hashing import BlobHash
from commonweal.serve.tools.databases import Databases
from commonweal.serve.tools.tables import SHOWN_ROWS, rows_text, schema_text
from commonweal.serve.tools.tool import Output, ToolFailed, text_argument


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlTool:
    """``tool`` is made by :func:`sql_tool`, which reads the tables."""

    tool: Tool
    blob: BlobHash
    databases: Databases

    def run(self, arguments: Mapping[str, Any]) -> Output:
        sql = text_argument(arguments, "query").strip().rstrip(";")
        try:
            found = self.databases.query(self.blob, sql)
        except UserError as error:
            raise ToolFailed(error.message, {"query": sql}) from None
        if found.status != "ok":
            raise ToolFailed(found.message, {"query": sql, "status": found.status})
        shown = [list(row) for row in found.rows[:SHOWN_ROWS]]
        detail = {
            "query": sql,
            "columns": list(found.columns),
            "rows": shown,
            "more": found.cut or len(found.rows) > len(shown),
        }
        return Output(text=rows_text(found), detail=detail)


def sql_tool(
    name: str, filename: str, blob: BlobHash, databases: Databases, *, longest_schema: int = 4000
) -> SqlTool:
    """The tool for one database. Blocks. Raises UserError for a file that is none."""
    schema = schema_text(databases.tables(blob), longest_schema)
    tool = Tool(
        name=name,
        description="Runs one SELECT query of SQLite on the user's database and gives its rows. "
        f"The database '{filename[:80]}' has:\n{schema}",
        parameters={
            "type": "object",
            "properties": {"query": {"type": "string", "description": "one SELECT statement"}},
            "required": ["query"],
            "additionalProperties": False,
        },
    )
    return SqlTool(tool=tool, blob=blob, databases=databases)
