"""The recipe: what is trained, on what, and how.

| room | what it does |
|---|---|
| `spec` | what is typed: `[LABEL=]NAME[:key=value,...]` |
| `schema` | every key, its unit, range and default |
| `load` | from what was typed to a checked recipe; the recipe as YAML |
| `layers` | keys laid over one another, each with its place |
| `faults`, `effect` | what is wrong, in words; typed keys that change nothing |
| `safe_yaml` | YAML of strangers |

Nothing is imported here, so that `cnnlab.recipe.spec` costs the commands that need no schema nothing.
"""
