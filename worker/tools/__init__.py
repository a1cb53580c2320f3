"""The tools that sub-agents use. One file a tool or a family of tools."""

from worker.tools.registry import Effect, Tool, Toolbox, ToolContext, ToolError, standard_tools

__all__ = ["Effect", "Tool", "ToolContext", "ToolError", "Toolbox", "standard_tools"]
