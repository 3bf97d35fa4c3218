"""Values that courses print in their assignments, recomputed: nobody of this project chose the numbers.

CS231n (Stanford), assignments 1 and 2, printed to 8 decimals: inputs by linspace. DeepLearning.AI, Convolutional Neural
Networks, week 1, "Convolution model, step by step": inputs by `np.random.seed(1)`, channels last, forward values of
both versions of the notebook. PyTorch's documentation of MaxUnpool2d.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnlab import backprop

TO_THE_LAST_DIGIT = {"atol": 6e-9, "rtol": 1e-8}


def ramp(first, last, *shape):
    return np.linspace(first, last, num=int(np.prod(shape))).reshape(shape)


def linear(weight, bias):
    """A layer with the course's weight, which is (in, out)."""
    layer = backprop.Linear(*weight.shape, dtype=np.float64)
    layer.weight, layer.bias = np.ascontiguousarray(weight.T), bias
    return layer


class TestCS231n:
    def test_affine(self):
        layer = linear(ramp(-0.2, 0.3, 120, 3), np.linspace(-0.3, 0.1, 3))
        expected = [[1.49834967, 1.70660132, 1.91485297], [3.25553199, 3.5141327, 3.77273342]]
        assert_allclose(layer(ramp(-0.1, 0.5, 2, 120)), expected, **TO_THE_LAST_DIGIT)

    def test_relu(self):
        expected = [[0, 0, 0, 0], [0, 0, 0.04545455, 0.13636364], [0.22727273, 0.31818182, 0.40909091, 0.5]]
        assert_allclose(backprop.ReLU()(ramp(-0.5, 0.5, 3, 4)), expected, **TO_THE_LAST_DIGIT)

    def test_two_layer_net_and_its_loss(self):
        net = backprop.Sequential(
            linear(ramp(-0.7, 0.3, 5, 50), np.linspace(-0.1, 0.9, 50)),
            backprop.ReLU(),
            linear(ramp(-0.3, 0.4, 50, 7), np.linspace(-0.9, 0.1, 7)),
        )
        scores = net(np.ascontiguousarray(ramp(-5.5, 4.5, 5, 3).T))
        expected = [
            [11.53165108, 12.2917344, 13.05181771, 13.81190102, 14.57198434, 15.33206765, 16.09215096],
            [12.05769098, 12.74614105, 13.43459113, 14.1230412, 14.81149128, 15.49994135, 16.18839143],
            [12.58373087, 13.20054771, 13.81736455, 14.43418138, 15.05099822, 15.66781506, 16.2846319],
        ]
        assert_allclose(scores, expected, **TO_THE_LAST_DIGIT)
        assert backprop.CrossEntropyLoss()(scores, np.array([0, 5, 1])) == pytest.approx(3.4702243556, abs=1e-10)

    def test_convolution_stride_2_padding_1(self):
        layer = backprop.Conv2d(3, 3, 4, stride=2, padding=1)
        layer.weight, layer.bias = ramp(-0.2, 0.3, 3, 3, 4, 4), np.linspace(-0.1, 0.2, 3)
        expected = [
            [
                [[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]],
                [[0.21027089, 0.21661097], [0.22847626, 0.23004637]],
                [[0.50813986, 0.54309974], [0.64082444, 0.67101435]],
            ],
            [
                [[-0.98053589, -1.03143541], [-1.19128892, -1.24695841]],
                [[0.69108355, 0.66880383], [0.59480972, 0.56776003]],
                [[2.36270298, 2.36904306], [2.38090835, 2.38247847]],
            ],
        ]
        assert_allclose(layer(ramp(-0.1, 0.5, 2, 3, 4, 4)), expected, **TO_THE_LAST_DIGIT)

    def test_max_pooling(self):
        expected = [
            [
                [[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]],
                [[-0.14526316, -0.13052632], [-0.08631579, -0.07157895]],
                [[-0.02736842, -0.01263158], [0.03157895, 0.04631579]],
            ],
            [
                [[0.09052632, 0.10526316], [0.14947368, 0.16421053]],
                [[0.20842105, 0.22315789], [0.26736842, 0.28210526]],
                [[0.32631579, 0.34105263], [0.38526316, 0.4]],
            ],
        ]
        assert_allclose(backprop.MaxPool2d(2, stride=2)(ramp(-0.3, 0.4, 2, 3, 4, 4)), expected, **TO_THE_LAST_DIGIT)

    def test_sgd_with_momentum(self):
        """The course's velocity is v = μ v − α g; torch's and ours is −v / α."""
        layer, parameter = self._weight()
        optimizer = backprop.SGD([parameter], lr=1e-3, momentum=0.9)
        optimizer.state(parameter)["momentum_buffer"] = -ramp(0.6, 0.9, 4, 5) / 1e-3
        optimizer.step()
        expected = [
            [0.1406, 0.20738947, 0.27417895, 0.34096842, 0.40775789],
            [0.47454737, 0.54133684, 0.60812632, 0.67491579, 0.74170526],
            [0.80849474, 0.87528421, 0.94207368, 1.00886316, 1.07565263],
            [1.14244211, 1.20923158, 1.27602105, 1.34281053, 1.4096],
        ]
        assert_allclose(layer.weight, expected, **TO_THE_LAST_DIGIT)

    def test_adam(self):
        layer, parameter = self._weight()
        optimizer = backprop.Adam([parameter], lr=1e-2)
        state = {"exp_avg": ramp(0.6, 0.9, 4, 5), "exp_avg_sq": ramp(0.7, 0.5, 4, 5), "step": 5}
        optimizer.state(parameter).update(state)
        optimizer.step()
        expected = [
            [-0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977],
            [-0.1380274, -0.08544591, -0.03286534, 0.01971428, 0.0722929],
            [0.1248705, 0.17744702, 0.23002243, 0.28259667, 0.33516969],
            [0.38774145, 0.44031188, 0.49288093, 0.54544852, 0.59801459],
        ]
        assert_allclose(layer.weight, expected, **TO_THE_LAST_DIGIT)
        first_row = optimizer.state(parameter)["exp_avg_sq"][0]
        assert_allclose(first_row, [0.69966, 0.68908382, 0.67851319, 0.66794809, 0.65738853], **TO_THE_LAST_DIGIT)

    @staticmethod
    def _weight():
        layer = backprop.Linear(5, 4, bias=False, dtype=np.float64)
        layer.weight, layer.grads = ramp(-0.4, 0.6, 4, 5), {"weight": ramp(-0.6, 0.4, 4, 5)}
        return layer, layer.parameters()[0]


def draws(*shapes):
    """The notebook's random arrays, one after the other."""
    random = np.random.RandomState(1)  # what np.random.seed(1) and np.random.randn give
    return [random.randn(*shape) for shape in shapes]


def channels_first(maps):
    return np.ascontiguousarray(maps.transpose(0, 3, 1, 2))


def channels_last(maps):
    return maps.transpose(0, 2, 3, 1)


class TestDeepLearningAI:
    @staticmethod
    def _convolution(shape, kernel, stride, padding):
        """The layer, and Z of the notebook's input; its W is (rows, columns, in, out)."""
        images, weight, bias = draws(shape, kernel, (1, 1, 1, kernel[3]))
        layer = backprop.Conv2d(kernel[2], kernel[3], kernel[:2], stride, padding)
        layer.weight, layer.bias = np.ascontiguousarray(weight.transpose(3, 2, 0, 1)), bias.ravel()
        return layer, layer(channels_first(images))

    def test_convolution_stride_2_padding_2_and_its_gradients(self):
        layer, z = self._convolution((10, 4, 4, 3), (2, 2, 3, 8), 2, 2)
        assert z.mean() == pytest.approx(0.0489952035289, abs=1e-12)
        expected = [-0.61490741, -6.7439236, -2.55153897, 1.75698377, 3.56208902, 0.53036437, 5.18531798, 8.75898442]
        assert_allclose(channels_last(z)[3, 2, 1], expected, **TO_THE_LAST_DIGIT)
        below = layer.backward(z)
        means = [below.mean(), layer.grads["weight"].mean(), layer.grads["bias"].mean()]
        assert_allclose(means, [1.45243777754, 1.72699145831, 7.83923256462], rtol=1e-11)

    def test_convolution_stride_2_padding_1(self):
        _, z = self._convolution((2, 5, 7, 4), (3, 3, 4, 8), 2, 1)
        assert z.mean() == pytest.approx(0.5511276474566768, rel=1e-13)
        expected = [-2.17796037, 8.07171329, -0.5772704, 3.36286738, 4.48113645, -2.89198428, 10.99288867, 3.03171932]
        assert_allclose(channels_last(z)[0, 2, 1], expected, **TO_THE_LAST_DIGIT)

    @pytest.mark.parametrize(
        ("kind", "stride", "place", "expected"),
        [
            (
                backprop.MaxPool2d,
                1,
                1,
                [
                    [1.96710175, 0.84616065, 1.27375593],
                    [1.96710175, 0.84616065, 1.23616403],
                    [1.62765075, 1.12141771, 1.2245077],
                ],
            ),
            (
                backprop.AvgPool2d,
                1,
                1,
                [
                    [0.44497696, -0.00261695, -0.31040307],
                    [0.50811474, -0.23493734, -0.23961183],
                    [0.11872677, 0.17255229, -0.22112197],
                ],
            ),
            (backprop.MaxPool2d, 2, 0, [[1.74481176, 0.90159072, 1.65980218], [1.74481176, 1.6924546, 1.65980218]]),
            (backprop.AvgPool2d, 2, 0, [[-0.03010467, -0.00324021, -0.33629886], [0.12893444, 0.22242847, 0.1250676]]),
        ],
    )
    def test_pooling_by_3(self, kind, stride, place, expected):
        """Image and row `place` of the output; for stride 2 image 0, row 0."""
        (images,) = draws((2, 5, 5, 3))
        z = channels_last(kind(3, stride)(channels_first(images)))
        assert_allclose(z[place, place], expected, **TO_THE_LAST_DIGIT)

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            (backprop.MaxPool2d, [[0, 0], [5.05844394, -1.68282702], [0, 0]]),
            (backprop.AvgPool2d, [[0.08485462, 0.2787552], [1.26461098, -0.25749373], [1.17975636, -0.53624893]]),
        ],
    )
    def test_gradient_of_pooling_by_2_stride_1(self, kind, expected):
        images, delta = draws((5, 5, 3, 2), (5, 4, 2, 2))
        layer = kind(2, stride=1)
        layer(channels_first(images))
        assert_allclose(channels_last(layer.backward(channels_first(delta)))[1, 1], expected, **TO_THE_LAST_DIGIT)


def test_max_pooling_backward_is_torchs_unpooling():
    """The documentation's example: 6, 8, 14 and 16 go back to where they came from."""
    x = np.arange(1.0, 17).reshape(1, 1, 4, 4)
    layer = backprop.MaxPool2d(2, stride=2)
    expected = [[0, 0, 0, 0], [0, 6, 0, 8], [0, 0, 0, 0], [0, 14, 0, 16]]
    assert layer.backward(layer(x))[0, 0].tolist() == expected
