"""The command line: one file a command (parse, one call into the core, render). Typer lives here only."""
