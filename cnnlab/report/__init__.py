"""Figures.

| room | what it does |
|---|---|
| `style` | colours, fonts; how every figure is made and written |
| `figures` | a training run: its curves, the gradient that reaches each layer |
| `evaluation_figures` | an evaluation: confusion matrix, classes, calibration, worst mistakes |
| `comparison_figures` | a comparison: loss, accuracy and δ by layer of all contestants |
| `bands` | the band around a mean over seeds |
| `sheet` | the sheet of `cnnlab filter` |
| `window` | one window of a picture, worked out in numbers |
| `matrix_panel` | matrices drawn as squares with their numbers |

Nothing is imported here.
"""
