"""Kernels on pictures: read, filtered, written.

| room | what it does |
|---|---|
| `applying` | one kernel on one picture, with the command's options; `filter_image` |
| `batch` | many kernels on many pictures |
| `kernels` | what a kernel is; the named ones |
| `parsing` | a kernel as it is typed |
| `pictures` | pictures read from strangers' files |
| `headers` | what of them may be decoded |
| `writing` | pictures encoded and written |
| `correlation` | the responses, tile by tile |
| `tiles` | padding, windows, threads |
| `plan` | the cheapest way to compute a matrix |
| `passes` | that way, on one tile |
| `decomposition` | a matrix as a sum of one-dimensional parts |
| `levels` | responses to gray levels |

Nothing is imported here.
"""
