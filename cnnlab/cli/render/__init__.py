"""What the terminal shows. rich lives here only.

| room | what it shows |
|---|---|
| `console` | results on stdout, talk beside them or on stderr |
| `train`, `compare`, `evaluate`, `gradcheck`, `filter` | the command of that name, on its way and at its end |
| `live` | what the views of a training and a comparison have in common |
| `comparison` | a finished comparison |
| `curves` | curves in braille dots or letters |
| `layers` | the layer table of `--dry-run` |
| `preflight` | the table of `train --check` |
| `lists` | `train --list` |
"""
