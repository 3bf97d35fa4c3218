"""The lecture's formulas as plain loops over scalars: slow, and independent of cnnlab.backprop."""

import numpy as np


def linear(x, w, b, delta):
    """z, ∂J/∂x, ∂J/∂w, ∂J/∂b of z[n,j] = Σₖ w[j,k] x[n,k] + b[j]."""
    z, dx, dw, db = np.zeros((len(x), len(w))), np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for n in range(len(x)):
        for j in range(len(w)):
            z[n, j] = b[j]
            db[j] += delta[n, j]
            for k in range(x.shape[1]):
                z[n, j] += w[j, k] * x[n, k]
                dw[j, k] += delta[n, j] * x[n, k]
                dx[n, k] += w[j, k] * delta[n, j]
    return z, dx, dw, db


def windows(x, kernel, stride, padding):
    """Every (n, c, i, j, u, v, h, k): output element, place in the window, and the input element below it."""
    count, channels, height, width = x.shape
    rows = (height + 2 * padding[0] - kernel[0]) // stride[0] + 1
    columns = (width + 2 * padding[1] - kernel[1]) // stride[1] + 1
    for n, c, i, j, u, v in np.ndindex(count, channels, rows, columns, *kernel):
        yield n, c, i, j, u, v, i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]


def inside(x, h, k):
    """Whether (h, k) is an element of the maps, and not padding."""
    return 0 <= h < x.shape[2] and 0 <= k < x.shape[3]


def conv(x, w, b, delta, stride, padding):
    """z, ∂J/∂x, ∂J/∂w, ∂J/∂b of z[n,f,i,j] = b[f] + Σ x[n, c, i·s+u−p, j·s+v−p] · w[f,c,u,v]."""
    z, dx, dw, db = np.zeros_like(delta), np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for n, f, i, j in np.ndindex(*delta.shape):
        z[n, f, i, j] += b[f]
        db[f] += delta[n, f, i, j]
    for n, c, i, j, u, v, h, k in windows(x, w.shape[2:], stride, padding):
        if not inside(x, h, k):
            continue
        for f in range(len(w)):
            z[n, f, i, j] += x[n, c, h, k] * w[f, c, u, v]
            dw[f, c, u, v] += delta[n, f, i, j] * x[n, c, h, k]
            dx[n, c, h, k] += delta[n, f, i, j] * w[f, c, u, v]
    return z, dx, dw, db


def max_pool(x, delta, kernel, stride, padding):
    """z and ∂J/∂x: δ goes to the first greatest of each window, row by row."""
    z, dx, where = np.full(delta.shape, -np.inf), np.zeros_like(x), {}
    for n, c, i, j, _, _, h, k in windows(x, kernel, stride, padding):
        if inside(x, h, k) and x[n, c, h, k] > z[n, c, i, j]:
            z[n, c, i, j] = x[n, c, h, k]
            where[n, c, i, j] = (n, c, h, k)
    for output, source in where.items():
        dx[source] += delta[output]
    return z, dx


def avg_pool(x, delta, kernel, stride, padding):
    """z and ∂J/∂x: every element of a window has an equal share, the zeros of the padding count."""
    z, dx, size = np.zeros_like(delta), np.zeros_like(x), kernel[0] * kernel[1]
    for n, c, i, j, _, _, h, k in windows(x, kernel, stride, padding):
        if inside(x, h, k):
            z[n, c, i, j] += x[n, c, h, k] / size
            dx[n, c, h, k] += delta[n, c, i, j] / size
    return z, dx


def batch_norm(x, gamma, beta, delta, eps):
    """y, ∂J/∂x, ∂J/∂γ, ∂J/∂β of (N, C) in training, ∂J/∂x by the chain rule through μ and σ², step by step."""
    count, channels = x.shape
    y, dx, dgamma, dbeta = np.zeros_like(x), np.zeros_like(x), np.zeros_like(gamma), np.zeros_like(beta)
    for c in range(channels):
        mean = sum(x[n, c] for n in range(count)) / count
        variance = sum((x[n, c] - mean) ** 2 for n in range(count)) / count
        deviation = (variance + eps) ** 0.5
        d_variance = d_mean = 0.0
        for n in range(count):
            normal = (x[n, c] - mean) / deviation
            y[n, c] = gamma[c] * normal + beta[c]
            dgamma[c] += delta[n, c] * normal
            dbeta[c] += delta[n, c]
            d_variance += delta[n, c] * gamma[c] * (x[n, c] - mean) * -0.5 * deviation**-3
            d_mean += -delta[n, c] * gamma[c] / deviation
        for n in range(count):
            direct = delta[n, c] * gamma[c] / deviation
            dx[n, c] = direct + d_variance * 2 * (x[n, c] - mean) / count + d_mean / count
    return y, dx, dgamma, dbeta


def cross_entropy(z, y):
    """J and ∂J/∂z of −1/N Σ y log softmax(z), by the whole Jacobian of the softmax."""
    count, classes = z.shape
    loss, dz = 0.0, np.zeros_like(z)
    for n in range(count):
        p = [np.exp(z[n, k]) / sum(np.exp(z[n, m]) for m in range(classes)) for k in range(classes)]
        for k in range(classes):
            loss -= y[n, k] * np.log(p[k]) / count
            for m in range(classes):
                dp = p[k] * ((k == m) - p[m])  # ∂p[k]/∂z[m]
                dz[n, m] -= y[n, k] / p[k] * dp / count
    return loss, dz


def half_squared(a, y):
    """J and ∂J/∂a of 1/N Σ ½ (a − y)²."""
    loss, da = 0.0, np.zeros_like(a)
    for n, j in np.ndindex(*a.shape):
        loss += 0.5 * (a[n, j] - y[n, j]) ** 2 / len(a)
        da[n, j] = (a[n, j] - y[n, j]) / len(a)
    return loss, da
