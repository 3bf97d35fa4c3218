"""The recipe: `spec` (what is typed), `schema` (the typed keys and defaults), `load` (find, layer,
validate, dump), `layers`, `faults` and `safe_yaml` that it stands on.

Nothing is imported here, so that `cnnlab.recipe.spec` costs the commands that need no schema nothing.
"""
