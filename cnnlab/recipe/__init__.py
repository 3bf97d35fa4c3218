"""The recipe: `spec` (what is typed), `schema` (the typed keys and defaults), `load` (YAML, overrides, dump).

Nothing is imported here, so that `cnnlab.recipe.spec` costs the commands that need no schema nothing.
"""
