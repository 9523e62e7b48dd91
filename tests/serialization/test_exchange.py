"""Checkpoints exchanged with PyTorch in both directions, and sharing kept."""

import collections
import io
import os
import pickle

import numpy as np
import pytest
import torch

import flambeau

_DTYPES = (
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz uint8 uint16 uint32 "
    "uint64 int8 int16 int32 int64 bool complex64 complex128"
).split()


def _base(t):
    return t.arange(12.0).reshape(3, 4)


def _tagged(t):
    tensor = t.ones(2)
    tensor.tag = 3
    return tensor


def _tagged_parameter(t):
    parameter = t.nn.Parameter(t.ones(2), requires_grad=False)
    parameter.tag = [1]
    return parameter


def _optimizer(t):
    t.manual_seed(0)
    layer = t.nn.Linear(3, 2)
    optimizer = t.optim.AdamW(layer.parameters(), lr=0.1)
    layer(t.ones(1, 3)).sum().backward()
    optimizer.step()
    return {"model": layer.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}


def _aliases(t):
    base = _base(t)
    return [base, base.t(), base[1:], base[:, 1], base.expand(2, 3, 4)]


CONTENTS = {
    "matrix": _base,
    "zero_dimensions": lambda t: t.tensor(3.0),
    "empty": lambda t: t.zeros(0, 3),
    "requires_grad": lambda t: t.ones(3, requires_grad=True),
    "parameter": lambda t: t.nn.Parameter(_base(t)),
    "parameter_with_attributes": _tagged_parameter,
    "tensor_with_attributes": _tagged,
    "buffer": lambda t: t.nn.Buffer(_base(t)),
    "meta": lambda t: t.empty(2, 3, device="meta"),
    "aliases": _aliases,
    "view_alone": lambda t: _base(t)[1:, 2:],
    "transposed_alone": lambda t: _base(t).t(),
    "expanded_alone": lambda t: t.ones(1).expand(1000, 3),
    "channels_last": lambda t: t.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=t.channels_last),
    "state_dict": lambda t: t.nn.BatchNorm1d(3).state_dict(),
    "optimizer": _optimizer,
    "same_tensor_twice": lambda t: [_base(t)] * 2,
    "containers": lambda t: [(1, 2.5), {"a": [None, True]}, collections.OrderedDict(b=t.ones(1)), {1, 2}, [[], {}]],
    "numbers_and_text": lambda t: [1 << 70, -3, 1.5, 1j, "text é", b"bytes\xff", bytearray(b"x"), None],
    "counter": lambda t: collections.Counter("aab"),
    "size_device_dtype": lambda t: [t.Size([1, 2]), t.device("cpu"), t.float16, t.uint16, t.strided],
    **{name: (lambda t, name=name: t.arange(6.0).to(getattr(t, name))) for name in _DTYPES},
}


def _is_tensor(value):
    return isinstance(value, torch.Tensor | flambeau.Tensor)


def _same(a, b):
    if _is_tensor(a):
        assert type(a).__name__ == type(b).__name__
        assert (tuple(a.shape), str(a.dtype), a.requires_grad) == (tuple(b.shape), str(b.dtype), b.requires_grad)
        assert (tuple(a.stride()), a.storage_offset()) == (tuple(b.stride()), b.storage_offset())
        assert getattr(a, "tag", None) == getattr(b, "tag", None)
        if a.device.type != "meta":
            assert str(a.detach().tolist()) == str(b.detach().tolist())
    elif isinstance(a, dict):
        assert type(a) is type(b)
        assert list(a) == list(b)
        for key in a:
            _same(a[key], b[key])
        assert getattr(a, "_metadata", None) == getattr(b, "_metadata", None)
    elif isinstance(a, list | tuple) and not hasattr(a, "numel"):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            _same(x, y)
    else:
        assert str(a) == str(b)


def _sent(obj, writer, reader, **options):
    file = io.BytesIO()
    writer.save(obj, file)
    file.seek(0)
    return reader.load(file, **options)


_WAYS = [(torch, flambeau), (flambeau, torch), (flambeau, flambeau)]
_WAY_NAMES = ["read", "written", "both"]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(("writer", "reader"), _WAYS, ids=_WAY_NAMES)
def test_contents_cross(writer, reader, content):
    obj = CONTENTS[content](writer)
    _same(obj, _sent(obj, writer, reader))


@pytest.mark.parametrize(("writer", "reader"), _WAYS, ids=_WAY_NAMES)
def test_aliases_stay_aliases(writer, reader):
    base, transposed, tail, column, expanded = _sent(_aliases(writer), writer, reader)
    transposed[0, 1] = 99.0
    assert base[1, 0].item() == 99.0
    assert tail[0, 0].item() == 99.0
    assert expanded[1, 1, 0].item() == 99.0
    base[2, 1] = -1.0
    assert column[2].item() == -1.0


@pytest.mark.parametrize(("writer", "reader"), _WAYS, ids=_WAY_NAMES)
def test_views_without_their_base_share(writer, reader):
    base = _base(writer)
    rows, columns = _sent([base[1:], base[:, 2:]], writer, reader)
    rows[0, 2] = 50.0
    assert columns[1, 0].item() == 50.0


def test_view_of_what_requires_a_gradient():
    base = torch.ones(4, requires_grad=True)
    leaf, seen = _sent([base, base.detach()[1:]], torch, flambeau)
    seen[0] = 5.0
    assert leaf.tolist() == [1.0, 5.0, 1.0, 1.0]
    assert leaf.requires_grad
    assert not seen.requires_grad


MODULES = {
    "linear": lambda t: t.nn.Linear(3, 3),
    "sequential": lambda t: t.nn.Sequential(t.nn.Linear(3, 3), t.nn.BatchNorm1d(3), t.nn.ReLU(), t.nn.Dropout()).eval(),
    "conv": lambda t: t.nn.Sequential(t.nn.Unflatten(1, (1, 3)), t.nn.Conv1d(1, 2, 2), t.nn.GroupNorm(1, 2)),
    "lstm": lambda t: t.nn.LSTM(3, 3),
    "transformer": lambda t: t.nn.TransformerEncoderLayer(3, 1, 8, activation="gelu").eval(),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(("writer", "reader"), _WAYS, ids=_WAY_NAMES)
def test_whole_modules_cross(writer, reader, name):
    writer.manual_seed(0)
    module = MODULES[name](writer)
    loaded = _sent(module, writer, reader, weights_only=False)
    assert type(loaded).__name__ == type(module).__name__
    given = [[1.0, 2.0, 3.0], [2.0, 3.0, 1.0]]
    results = [m(t.tensor(given)) for m, t in ((module, writer), (loaded, reader))]
    first, second = (r[0] if isinstance(r, tuple) else r for r in results)
    np.testing.assert_allclose(first.tolist(), second.tolist(), atol=1e-5)


@pytest.mark.parametrize(("writer", "reader"), _WAYS, ids=_WAY_NAMES)
def test_generators_cross(writer, reader):
    generator = writer.Generator().manual_seed(5)
    loaded = _sent(generator, writer, reader, weights_only=False)
    assert reader.rand(3, generator=loaded).tolist() == writer.rand(3, generator=generator).tolist()


def test_optimizers_go_on_alike():
    kept = _sent(_optimizer(torch), torch, flambeau)
    ends = []
    for t, state in ((torch, _optimizer(torch)), (flambeau, kept)):
        layer = t.nn.Linear(3, 2)
        layer.load_state_dict(state["model"])
        optimizer = t.optim.AdamW(layer.parameters())
        optimizer.load_state_dict(state["optimizer"])
        layer(t.ones(1, 3)).sum().backward()
        optimizer.step()
        ends.append(layer.weight.tolist())
    np.testing.assert_allclose(*ends, atol=1e-6)


@pytest.mark.parametrize("writer", [torch, flambeau])
def test_mmap(tmp_path, writer):
    path = tmp_path / "weights.pt"
    writer.save({"w": writer.arange(1000.0), "b": writer.ones(3, dtype=writer.bfloat16)}, path)
    for reader in (torch, flambeau):
        loaded = reader.load(path, mmap=True)
        assert loaded["w"].sum().item() == 499500.0
        assert loaded["b"].tolist() == [1.0] * 3
    loaded = flambeau.load(path, mmap=True)
    loaded["w"].add_(1.0)
    assert flambeau.load(path)["w"][0].item() == 0.0
    with pytest.raises(ValueError, match="must be a file path"):
        flambeau.load(io.BytesIO(path.read_bytes()), mmap=True)


@pytest.mark.parametrize("place", ["cpu", flambeau.device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage])
def test_map_location(place):
    file = io.BytesIO()
    torch.save(torch.ones(2), file)
    # The record is longer now, so it is packed anew.
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    packed.seek(0)
    assert flambeau.load(packed, map_location=place).tolist() == [1.0, 1.0]
    packed.seek(0)
    if not flambeau.cuda.is_available():
        with pytest.raises(RuntimeError, match="Attempting to deserialize object on"):
            flambeau.load(packed)


def test_map_location_to_meta():
    assert _sent(torch.ones(2), torch, flambeau, map_location="meta").device.type == "meta"


def test_one_storage_as_two_types_is_refused():
    base = flambeau.zeros(4)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        flambeau.save([base, base.view(flambeau.int32)], io.BytesIO())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(protocol):
    file = io.BytesIO()
    flambeau.save({"a": flambeau.ones(2), "b": {1}}, file, pickle_protocol=protocol)
    file.seek(0)
    assert flambeau.load(file)["a"].tolist() == [1.0, 1.0]
    file.seek(0)
    assert torch.load(file, weights_only=False)["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("prefix", [b"", b"head"])
def test_files_without_checksums_are_read(prefix):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        data = io.BytesIO()
        torch.save({"weight": torch.arange(1000.0), "none": torch.zeros(0), "flag": True}, data)
    finally:
        torch.serialization.set_crc32_options(before)
    file = io.BytesIO(prefix + data.getvalue())
    file.seek(len(prefix))
    loaded = flambeau.load(file)
    assert loaded["weight"].tolist() == list(range(1000))
    assert loaded["none"].shape == (0,)
    assert loaded["flag"] is True
    for end in range(4, len(data.getvalue()), 301):
        with pytest.raises(RuntimeError, match="truncated or damaged"):
            flambeau.load(io.BytesIO(data.getvalue()[:end]))


def test_file_objects_at_any_place():
    file = io.BytesIO(b"head")
    file.seek(4)
    file.write(_bytes(flambeau.ones(2)))
    file.seek(4)
    assert flambeau.load(file).tolist() == [1.0, 1.0]


def _bytes(obj):
    file = io.BytesIO()
    flambeau.save(obj, file)
    return file.getvalue()


def test_records_are_aligned():
    data = _bytes({"a": flambeau.ones(3), "b": flambeau.ones(5)})
    for value in (np.ones(3, np.float32).tobytes() + b"P", np.ones(5, np.float32).tobytes() + b"P"):
        assert data.index(value) % 64 == 0


def test_pickle_module_without_names_is_refused():
    class Module:
        __name__ = "other"
        Pickler = pickle.Pickler

    with pytest.raises(ValueError, match="pickle module"):
        flambeau.save(1, io.BytesIO(), pickle_module=Module())


def test_links_and_permissions_stay(tmp_path):
    target = tmp_path / "real.pt"
    flambeau.save(1, target)
    assert os.stat(target).st_mode & 0o777 == 0o666 & ~_umask()
    os.chmod(target, 0o640)
    link = tmp_path / "link.pt"
    link.symlink_to(target)
    flambeau.save(2, link)
    assert link.is_symlink()
    assert flambeau.load(target) == 2
    assert os.stat(target).st_mode & 0o777 == 0o640
    with pytest.raises(RuntimeError, match="Parent directory"):
        flambeau.save(1, tmp_path / "none" / "x.pt")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
