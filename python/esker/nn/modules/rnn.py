"""Recurrent layers."""

import math

from ... import _esker
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module


class RNNBase(Module):
    """Layers over a sequence, in one direction or both."""

    _gates = 1
    _states = 1

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        if proj_size:
            raise ValueError(f"{type(self).__name__} has no projections (proj_size)")
        if not 0 <= dropout <= 1:
            raise ValueError(f"a probability from 0 to 1 was needed, got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        rows = self._gates * hidden_size
        for layer in range(num_layers):
            for end in self._ends():
                width = input_size if layer == 0 else hidden_size * len(self._ends())
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for name, shape in shapes.items():
                    setattr(self, f"{name}_l{layer}{end}", Parameter(_esker.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def _ends(self):
        return ("", "_reverse") if self.bidirectional else ("",)

    def reset_parameters(self):
        """Draws new values."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self):
        """Weights are in order anyway; for scripts that call it."""

    def _layer(self, x, states, weights, reverse):
        raise NotImplementedError

    def _run(self, input, states):
        """Output ``[steps, n, ends * hidden]`` and the last states, each ``[layers * ends, n, hidden]``."""
        ends, last = self._ends(), [[] for _ in range(self._states)]
        x = input
        for layer in range(self.num_layers):
            outputs = []
            for k, end in enumerate(ends):
                at = layer * len(ends) + k
                names = [f"weight_ih_l{layer}{end}", f"weight_hh_l{layer}{end}"]
                names += [f"bias_ih_l{layer}{end}", f"bias_hh_l{layer}{end}"] if self.bias else []
                weights = [getattr(self, name) for name in names]
                output, *state = self._layer(x, [s[at] for s in states], weights, k == 1)
                outputs.append(output)
                for kept, s in zip(last, state):
                    kept.append(s)
            x = outputs[0] if len(outputs) == 1 else _esker.cat(outputs, -1)
            if self.dropout and layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        return x, [_esker.stack(s) for s in last]

    def forward(self, input, hx=None):
        if input.ndim not in (2, 3):
            raise ValueError(f"{type(self).__name__} takes a 2-d or 3-d input, got {list(input.shape)}")
        single = input.ndim == 2
        x = input.unsqueeze(1) if single else input.transpose(0, 1) if self.batch_first else input
        if x.shape[-1] != self.input_size:
            raise ValueError(f"{type(self).__name__}: the input has {x.shape[-1]} features, needed are {self.input_size}")
        shape = (self.num_layers * len(self._ends()), x.shape[1], self.hidden_size)
        if hx is None:
            states = [_esker.zeros(shape, dtype=x.dtype, device=x.device) for _ in range(self._states)]
        else:
            states = list(hx) if self._states > 1 else [hx]
            states = [s.unsqueeze(1) if single else s for s in states]
            for s in states:
                if tuple(s.shape) != shape:
                    raise ValueError(f"{type(self).__name__}: a state is {list(s.shape)}, needed is {list(shape)}")
        output, last = self._run(x, states)
        if single:
            output, last = output.squeeze(1), [s.squeeze(1) for s in last]
        elif self.batch_first:
            output = output.transpose(0, 1)
        return output, tuple(last) if self._states > 1 else last[0]

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase):
    """Plain recurrent layers."""

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", *args, **kwargs):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f'RNN: nonlinearity is "tanh" or "relu", got {nonlinearity!r}')
        object.__setattr__(self, "nonlinearity", nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, *args, **kwargs)

    def _layer(self, x, states, weights, reverse):
        return _esker.rnn_layer(x, *states, *weights, nonlinearity=self.nonlinearity, reverse=reverse)


class LSTM(RNNBase):
    """Layers of long short-term memory."""

    _gates, _states = 4, 2

    def _layer(self, x, states, weights, reverse):
        return _esker.lstm_layer(x, *states, *weights, reverse=reverse)


class GRU(RNNBase):
    """Layers of gated recurrent units."""

    _gates = 3

    def _layer(self, x, states, weights, reverse):
        return _esker.gru_layer(x, *states, *weights, reverse=reverse)


class _Cell(Module):
    _gates = 1

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows, kind = self._gates * hidden_size, {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(_esker.empty(rows, input_size, **kind))
        self.weight_hh = Parameter(_esker.empty(rows, hidden_size, **kind))
        self.register_parameter("bias_ih", Parameter(_esker.empty(rows, **kind)) if bias else None)
        self.register_parameter("bias_hh", Parameter(_esker.empty(rows, **kind)) if bias else None)
        bound = 1 / math.sqrt(hidden_size) if hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _step(self, row, input, states, **options):
        single = input.ndim == 1
        x = input.reshape(1, 1, -1) if single else input.unsqueeze(0)
        if states is None:
            zeros = _esker.zeros(x.shape[1], self.hidden_size, dtype=x.dtype, device=x.device)
            states = [zeros] * (2 if row is _lstm else 1)
        else:
            states = [s.unsqueeze(0) if single else s for s in states]
        weights = [self.weight_ih, self.weight_hh] + ([self.bias_ih, self.bias_hh] if self.bias else [])
        _, *last = row(x, *states, *weights, **options)
        return [s.squeeze(0) if single else s for s in last]

    def extra_repr(self):
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


def _lstm(*args, **options):
    return _esker.lstm_layer(*args, **options)


class RNNCell(_Cell):
    """One step of a plain recurrent layer."""

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        states = None if hx is None else [hx]
        return self._step(_esker.rnn_layer, input, states, nonlinearity=self.nonlinearity)[0]


class LSTMCell(_Cell):
    """One step of long short-term memory."""

    _gates = 4

    def forward(self, input, hx=None):
        return tuple(self._step(_lstm, input, hx))


class GRUCell(_Cell):
    """One step of a gated recurrent unit."""

    _gates = 3

    def forward(self, input, hx=None):
        return self._step(_esker.gru_layer, input, None if hx is None else [hx])[0]
