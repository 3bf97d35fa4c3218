"""The command line: one file a command (parse, one call into the core, render). Typer lives here only.

| room | what it does |
|---|---|
| `main` | the program around the commands: exit codes, errors |
| `app` | which commands there are |
| `train`, `compare`, `evaluate`, `gradcheck`, `filter` | the commands |
| `options` | flags that mean the same in every command |
| `coercion` | values that reach a command without pydantic |
| `usage` | what Typer refuses, in plain words |
| `signals` | Ctrl-C, SIGTERM, a terminal that has gone away |
| `render` | what the terminal shows |
"""
