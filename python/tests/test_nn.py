"""Layers, optimisers, schedules, loaders."""

import copy
import math

import numpy as np
import pytest

import esker
from esker import nn, optim
from esker.utils import data
from esker.utils.checkpoint import checkpoint


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(8, 2))
        self.register_buffer("count", esker.zeros(()))

    def forward(self, x):
        self.count.add_(1)
        return self.rest(self.first(x))


def test_a_module_knows_its_parts():
    net = Net()
    names = ["first.weight", "first.bias", "rest.1.weight", "rest.1.bias"]
    assert [name for name, _ in net.named_parameters()] == names
    assert list(net.state_dict()) == ["count", *names]
    assert [name for name, _ in net.named_children()] == ["first", "rest"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    net(esker.ones(1, 4))
    assert net.count.item() == 1
    assert net.eval().training is False and net.rest[0].training is False
    net.double()
    assert net.first.weight.dtype is esker.float64 and net(esker.ones(1, 4).double()).dtype is esker.float64
    assert repr(net) == (
        "Net(\n  (first): Linear(in_features=4, out_features=8, bias=True)\n  (rest): Sequential(\n    (0): ReLU()\n"
        "    (1): Linear(in_features=8, out_features=2, bias=True)\n  )\n)"
    )


def test_states_are_taken_over_whole_or_not_at_all():
    a, b = Net(), Net()
    result = b.load_state_dict(a.state_dict())
    x = esker.randn(3, 4)
    assert np.array_equal(a(x).detach().numpy(), b(x).detach().numpy()) and not any(result)
    state = a.state_dict()
    del state["rest.1.bias"]
    state["extra"] = esker.ones(1)
    before = b.first.weight.tolist()
    with pytest.raises(ValueError, match="missing rest.1.bias; unexpected extra"):
        b.load_state_dict(state)
    assert b.first.weight.tolist() == before
    assert b.load_state_dict(state, strict=False) == (["rest.1.bias"], ["extra"])
    assert copy.deepcopy(a).first.weight is not a.first.weight


def test_shared_parameters_are_one():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert len(list(net.parameters())) == 3 and len(net.state_dict()) == 4
    sgd = optim.SGD(net.parameters(), lr=1.0)
    before = net[0].weight.detach().numpy().copy()
    net(esker.ones(1, 3)).sum().backward()
    gradient = net[0].weight.grad.numpy().copy()
    sgd.step()
    assert np.allclose(net[1].weight.detach().numpy(), before - gradient, atol=1e-6)


def test_hooks_of_modules():
    net, seen = Net(), []
    pre = net.first.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    post = net.first.register_forward_hook(lambda m, args, out: seen.append(out.shape))
    net(esker.ones(1, 4))
    assert seen == [(1, 8)]
    pre.remove(), post.remove()
    net(esker.ones(1, 4))
    assert len(seen) == 1
    grads = []
    net.register_full_backward_hook(lambda m, gi, go: grads.append((gi[0].shape, go[0].tolist())))
    x = esker.ones(1, 4, requires_grad=True)
    net(x).sum().backward()
    assert grads == [((1, 4), [[1.0, 1.0]])] and x.grad is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.05),
        lambda p: optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4),
        lambda p: optim.Adam(p, lr=0.05),
        lambda p: optim.AdamW(p, lr=0.05, amsgrad=True),
        lambda p: optim.NAdam(p, lr=0.05),
        lambda p: optim.RAdam(p, lr=0.1),
        lambda p: optim.Adamax(p, lr=0.05),
        lambda p: optim.Lion(p, lr=0.01),
        lambda p: optim.RMSprop(p, lr=0.01),
        lambda p: optim.Adagrad(p, lr=0.2),
        lambda p: optim.Adadelta(p, lr=5.0),
        lambda p: optim.Rprop(p, lr=0.01),
    ],
)
def test_optimisers_descend_and_go_on_from_their_state(make):
    esker.manual_seed(1)
    x = esker.randn(64, 4)
    y = x @ esker.tensor([[1.0], [-2.0], [0.5], [3.0]])
    net = nn.Linear(4, 1)

    def run(net, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
        return loss.item()

    optimizer = make(net.parameters())
    first = run(net, optimizer, 1)
    assert run(net, optimizer, 100) < 0.7 * first
    twin = copy.deepcopy(net)
    other = make(twin.parameters())
    other.load_state_dict(optimizer.state_dict())
    assert run(net, optimizer, 3) == run(twin, other, 3)


def test_groups_have_rates_of_their_own():
    a, b = (nn.Parameter(esker.zeros(1)) for _ in range(2))
    sgd = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    (a + b).sum().backward()
    sgd.step()
    assert np.allclose([a.item(), b.item()], [-0.1, -0.5])
    sgd.param_groups[0]["lr"] = 1.0
    sgd.step()
    assert np.allclose([a.item(), b.item()], [-1.1, -1.0])


def test_schedules_have_pytorchs_values():
    def rates(make, steps, lr=1.0):
        sgd = optim.SGD([nn.Parameter(esker.zeros(1))], lr=lr)
        schedule = make(sgd)
        out = []
        for _ in range(steps):
            out.append(sgd.param_groups[0]["lr"])
            schedule.step()
        return out

    s = optim.lr_scheduler
    assert np.allclose(rates(lambda o: s.StepLR(o, 2, 0.1), 5), [1, 1, 0.1, 0.1, 0.01])
    assert np.allclose(rates(lambda o: s.MultiStepLR(o, [1, 3], 0.5), 5), [1, 0.5, 0.5, 0.25, 0.25])
    assert np.allclose(rates(lambda o: s.LinearLR(o, 0.5, 1.0, 2), 4), [0.5, 0.75, 1, 1])
    assert np.allclose(rates(lambda o: s.ExponentialLR(o, 0.5), 3), [1, 0.5, 0.25])
    cosine = [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
    assert np.allclose(rates(lambda o: s.CosineAnnealingLR(o, 4), 5), cosine)
    one = rates(lambda o: s.OneCycleLR(o, 1.0, total_steps=10), 10)
    assert np.isclose(one[0], 0.04) and np.isclose(max(one), 1.0) and np.isclose(one[-1], 4e-6)
    warm = rates(lambda o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)], [2]), 4)
    assert np.allclose(warm, [0.1, 0.1, 1.0, 0.9])


def test_clipping():
    p = nn.Parameter(esker.zeros(2))
    p.grad = esker.tensor([3.0, 4.0])
    assert np.isclose(nn.utils.clip_grad_norm_([p], 1.0).item(), 5) and np.allclose(p.grad.numpy(), [0.6, 0.8], atol=1e-5)
    nn.utils.clip_grad_value_([p], 0.7)
    assert np.allclose(p.grad.numpy(), [0.6, 0.7], atol=1e-5)


def test_loaders_repeat_by_seed():
    rows = data.TensorDataset(esker.arange(10), esker.arange(10) * 2)
    for workers in (0, 2):
        esker.manual_seed(5)
        first = [b.tolist() for b, _ in data.DataLoader(rows, batch_size=3, shuffle=True, num_workers=workers)]
        esker.manual_seed(5)
        again = [b.tolist() for b, _ in data.DataLoader(rows, batch_size=3, shuffle=True, num_workers=workers)]
        assert first == again and sorted(sum(first, [])) == list(range(10)) and len(first) == 4
    parts = data.random_split(rows, [0.7, 0.3])
    assert [len(p) for p in parts] == [7, 3]

    class Broken(data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            raise KeyError("sample")

    with pytest.raises(KeyError, match="sample") as info:
        list(data.DataLoader(Broken(), num_workers=1))
    assert any(entry.name == "__getitem__" for entry in info.traceback)


def test_functions_of_ones_own():
    class Cube(esker.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x)
            ctx.scale = scale
            return x**3 * scale, x

        @staticmethod
        def backward(ctx, g, unused):
            (x,) = ctx.saved_tensors
            assert ctx.needs_input_grad == (True, False)
            return 3 * x**2 * ctx.scale * g, None

    x = esker.tensor([1.0, 2.0], requires_grad=True)
    y, _ = Cube.apply(x, 2)
    (g,) = esker.grad(y.sum(), x, create_graph=True)
    assert g.tolist() == [6, 24]
    assert esker.grad(g.sum(), x)[0].tolist() == [12, 24]

    class Bad(esker.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise ZeroDivisionError("in backward")

    with pytest.raises(ZeroDivisionError, match="in backward") as info:
        Bad.apply(x).sum().backward()
    assert any(entry.name == "backward" and "test_nn" in str(entry.path) for entry in info.traceback)


def test_checkpoints_give_the_same_gradients():
    esker.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.5)), esker.randn(2, 4, requires_grad=True)
    esker.manual_seed(3)
    net(x).sum().backward()
    want = x.grad.tolist(), net[0].weight.grad.tolist()
    x.grad = None
    net.zero_grad()
    esker.manual_seed(3)
    checkpoint(net, x).sum().backward()
    assert (x.grad.tolist(), net[0].weight.grad.tolist()) == want


def test_anomalies_are_found():
    with esker.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="log: 1 of 2 results is NaN"):
        esker.tensor([1.0, -1.0]).log()
    assert esker.tensor([1.0, -1.0]).log()[1].isnan().item()


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers(layer):
    net = layer(3, 5, num_layers=2, bidirectional=True, batch_first=True)
    x = esker.randn(2, 4, 3)
    out, state = net(x)
    last = state[0] if layer is nn.LSTM else state
    assert out.shape == (2, 4, 10) and last.shape == (4, 2, 5)
    out.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert np.allclose(out[:, -1, :5].detach().numpy(), last[2].detach().numpy(), atol=1e-6)


def test_attention_and_transformers():
    esker.manual_seed(0)
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True), esker.randn(2, 5, 8)
    with_weights, weights = attention(x, x, x)
    without, none = attention(x, x, x, need_weights=False)
    assert none is None and np.allclose(weights.sum(-1).detach().numpy(), 1, atol=1e-5)
    assert np.allclose(with_weights.detach().numpy(), without.detach().numpy(), atol=1e-5)
    hidden = esker.tensor([[False] * 5, [False] * 3 + [True] * 2])
    a = attention(x, x, x, key_padding_mask=hidden)[0]
    y = x.clone()
    y[1, 3:] = 7.0
    b = attention(x, y, y, key_padding_mask=hidden)[0]
    assert np.allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-5)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 2)
    encoder(x).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_batch_norm_moves_its_statistics():
    norm, x = nn.BatchNorm2d(3), esker.randn(4, 3, 5, 5) * 2 + 1
    y = norm(x).detach().numpy()
    assert np.allclose(y.mean((0, 2, 3)), 0, atol=1e-5) and np.allclose(y.std((0, 2, 3)), 1, atol=1e-3)
    array = x.numpy()
    assert np.allclose(norm.running_mean.numpy(), 0.1 * array.mean((0, 2, 3)), atol=1e-5)
    assert np.allclose(norm.running_var.numpy(), 0.9 + 0.1 * array.var((0, 2, 3), ddof=1), atol=1e-4)
    assert norm.num_batches_tracked.item() == 1
    norm.eval()
    before = norm.running_mean.tolist()
    norm(x)
    assert norm.running_mean.tolist() == before


def test_a_convolutional_net_trains_and_ships(tmp_path):
    esker.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )
    x, y = esker.randn(12, 1, 8, 8), esker.arange(12) % 3
    adam = optim.Adam(net.parameters(), lr=0.05)
    losses = []
    for _ in range(15):
        adam.zero_grad()
        loss = nn.CrossEntropyLoss()(net(x), y)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    path = tmp_path / "net.onnx"
    graph = esker.onnx.export(net, x[:2], path, input_names=["image"], output_names=["scores"])
    assert net.training and graph.input_names == ["image"] and graph.output_names == ["scores"]
    net.eval()
    want = net(x).detach().numpy()
    assert np.array_equal(graph(x).numpy(), want)
    assert np.allclose(esker.onnx.load(path)(image=x).numpy(), want, atol=1e-5)

    class Reads(nn.Module):
        def forward(self, x):
            return x * x.sum().item()

    with pytest.raises(RuntimeError, match="values"):
        esker.onnx.capture(Reads(), esker.ones(2, 2))


def test_data_writes_the_leaf():
    layer = nn.Linear(2, 2)
    version = layer.weight._version
    layer.weight.data.fill_(3)
    layer.bias.data[0] = 5
    layer.weight.data *= 2
    assert layer.weight.tolist() == [[6, 6], [6, 6]] and layer.bias[0].item() == 5 and layer.weight._version > version
    assert not layer.weight.data.requires_grad and layer.weight.requires_grad
    layer(esker.ones(1, 2)).sum().backward()
    layer.weight.grad.data.zero_()
    assert layer.weight.grad.tolist() == [[0, 0], [0, 0]]
    plain = esker.zeros(2)
    plain.data.add_(1)
    assert plain.tolist() == [1, 1]
    computed = layer.weight * 1
    computed.data.zero_()
    assert computed.tolist() == [[6, 6], [6, 6]], "what was computed keeps its value"


def test_pad_sequence():
    rows = [esker.tensor([1, 2, 3]), esker.tensor([4]), esker.tensor([5, 6])]
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
    assert padded.tolist() == [[1, 2, 3], [4, -1, -1], [5, 6, -1]] and padded.dtype is esker.int64
    assert nn.utils.rnn.pad_sequence(rows).T.tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
    left = nn.utils.rnn.pad_sequence(rows, True, padding_side="left")
    assert left.tolist() == [[1, 2, 3], [0, 0, 4], [0, 5, 6]]
    again = nn.utils.rnn.unpad_sequence(padded, [3, 1, 2], batch_first=True)
    assert [row.tolist() for row in again] == [row.tolist() for row in rows]
    points = nn.utils.rnn.pad_sequence([esker.ones(2, 3), esker.ones(1, 3)], batch_first=True)
    assert points.sum((1, 2)).tolist() == [6, 3]
    with pytest.raises(RuntimeError, match="first size only"):
        nn.utils.rnn.pad_sequence([esker.ones(2, 3), esker.ones(1, 2)])
