"""The safetensors format in both directions, and what its functions refuse, beside `safetensors.torch`."""

import os

import pytest
import torch

import flambeau
from flambeau import safetensors as ours

theirs = pytest.importorskip("safetensors.torch")

NAMES = (
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz "
    "int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool complex64"
).split()


def _content(t):
    found = {name: t.arange(6).reshape(2, 3).to(getattr(t, name)) for name in NAMES}
    return {**found, "scalar": t.tensor(2.5), "empty": t.zeros(0, 3)}


def _told(tensors):
    return {name: (str(v.dtype), tuple(v.shape), str(v.float().tolist())) for name, v in tensors.items()}


def test_bytes_are_the_same_and_cross():
    metadata = {"made": "here"}
    data = ours.save(_content(flambeau), metadata)
    expected = theirs.save(_content(torch), metadata)
    assert len(data) == len(expected)
    known = _content(torch)
    del known["complex64"]
    for read, written in ((ours.load, expected), (theirs.load, data), (ours.load, data)):
        found = read(written)
        assert found.pop("complex64").tolist() == [[0j, 1 + 0j, 2 + 0j], [3 + 0j, 4 + 0j, 5 + 0j]]
        assert _told(found) == _told(known)


def test_files(tmp_path):
    path = tmp_path / "x.safetensors"
    ours.save_file({"w": flambeau.ones(2)}, path, {"made": "here"})
    assert theirs.load_file(path)["w"].tolist() == [1.0, 1.0]
    loaded = ours.load_file(path, device="cpu")["w"]
    assert loaded.add_(1).tolist() == [2.0, 2.0]
    assert ours.load_file(str(path))["w"].tolist() == [1.0, 1.0]
    assert os.listdir(tmp_path) == ["x.safetensors"]


def _tied(t):
    t.manual_seed(0)
    model = t.nn.ModuleDict({"embed": t.nn.Embedding(4, 3), "head": t.nn.Linear(3, 4, bias=False)})
    model["head"].weight = model["embed"].weight
    return model


def test_models_with_tied_weights(tmp_path):
    for write, read, t, u in ((ours, theirs, flambeau, torch), (theirs, ours, torch, flambeau)):
        path = tmp_path / "model.safetensors"
        model = _tied(t)
        write.save_model(model, str(path))
        assert list(ours.load_file(path)) == ["embed.weight"]
        fresh = _tied(u)
        with u.no_grad():
            fresh["embed"].weight.zero_()
        assert read.load_model(fresh, str(path)) == (set(), [])
        assert fresh["head"].weight.tolist() == model["embed"].weight.tolist()


def test_models_that_do_not_fit(tmp_path):
    for library, t in ((ours, flambeau), (theirs, torch)):
        path = str(tmp_path / "model.safetensors")
        library.save_file({"weight": t.ones(1, 2), "more": t.ones(1)}, path)
        layer = t.nn.Linear(2, 1)
        assert library.load_model(layer, path, strict=False) == ({"bias"}, ["more"])
        with pytest.raises(RuntimeError) as caught:
            library.load_model(layer, path)
        assert 'Missing key(s) in state_dict: "bias"\n    Unexpected key(s) in state_dict: "more"' in str(caught.value)


def _shared(t):
    base = t.ones(4)
    return {"a": base, "b": base[1:]}


def _apart(t):
    base = t.arange(4.0)
    return {"a": base[:2], "b": base[2:]}


REFUSED = {
    "list": (lambda t: [t.ones(1)], ValueError, "Expected a dict of"),
    "number": (lambda t: {"a": 1}, ValueError, "Key `a` is invalid"),
    "shared": (_shared, RuntimeError, "Some tensors share memory"),
    "transposed": (lambda t: {"a": t.ones(2, 3).t()}, ValueError, "non contiguous tensor: `a`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    make, kind, message = REFUSED[name]
    for library, t in ((ours, flambeau), (theirs, torch)):
        with pytest.raises(kind, match=message):
            library.save(make(t))


def test_parts_of_one_storage_that_do_not_meet():
    for library, t in ((ours, flambeau), (theirs, torch)):
        assert library.load(library.save(_apart(t)))["b"].tolist() == [2.0, 3.0]


def test_types_that_the_format_lacks():
    with pytest.raises(ValueError, match=r"has no torch.complex128 \(tensor 'a'\)"):
        ours.save({"a": flambeau.ones(1, dtype=flambeau.complex128)})


def test_models_that_share_no_whole(tmp_path):
    base = flambeau.ones(4)
    model = flambeau.nn.Module()
    model.register_buffer("a", base[:3])
    model.register_buffer("b", base[1:])
    with pytest.raises(RuntimeError, match="None is covering the entire storage"):
        ours.save_model(model, tmp_path / "x.safetensors")
    model = flambeau.nn.Module()
    model.register_buffer("a", flambeau.arange(6.0).reshape(2, 3).t())
    with pytest.raises(ValueError, match="force_contiguous=True"):
        ours.save_model(model, tmp_path / "x.safetensors", force_contiguous=False)
    ours.save_model(model, tmp_path / "x.safetensors")
    assert ours.load_file(tmp_path / "x.safetensors")["a"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


@pytest.mark.parametrize("count", [0, 4, 30, 90])
def test_damaged_files(count):
    from safetensors import SafetensorError

    data = ours.save({"a": flambeau.ones(20)})
    with pytest.raises(SafetensorError):
        ours.load(data[:count])
