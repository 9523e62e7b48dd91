"""Damaged and hostile files: each is refused with its reason, and nothing of it runs."""

import io
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import flambeau
from flambeau import serialization
from flambeau.serialization.replacing import replacing


class Runs:
    """Pickled, it is a call."""

    def __init__(self, function, *args):
        self.parts = (function, args)

    def __reduce__(self):
        return self.parts


def _packed(structure, storages=(), **records):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", structure)
        for key, data in dict(storages).items():
            archive.writestr(f"archive/data/{key}", data)
        for name, data in records.items():
            archive.writestr(f"archive/{name}", data)
        archive.writestr("archive/version", b"3\n")
    file.seek(0)
    return file


def _saved(obj):
    file = io.BytesIO()
    flambeau.save(obj, file)
    return file.getvalue()


def _structure(obj):
    return zipfile.ZipFile(io.BytesIO(_saved(obj))).read("archive/data.pkl")


_GLOBAL = "c{}\n{}\n".format


def _program(*parts):
    return b"\x80\x02" + b"".join(p.encode("latin1") if isinstance(p, str) else p for p in parts) + b"."


_STORAGE = "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
_REBUILD = "ctorch._utils\n_rebuild_tensor_v2\n"
_EMPTY = "ccollections\nOrderedDict\n)R"
_FOUR = {"0": b"\0" * 16}

HOSTILE = {
    "os.system": (_program(_GLOBAL("os", "system"), "X\x04\x00\x00\x00truetR")),
    "posix.system": pickle.dumps(Runs(os.system, "touch ran"), 2),
    "eval": pickle.dumps(Runs(eval, "open('ran', 'w')"), 2),
    "exec": pickle.dumps(Runs(exec, "open('ran', 'w')"), 4),
    "getattr": _program(_GLOBAL("__builtin__", "getattr"), _GLOBAL("torch", "Tensor"), "X\x03\x00\x00\x00foo\x86R"),
    "subprocess": pickle.dumps(Runs(subprocess.call, ["touch", "ran"]), 2),
    "import": pickle.dumps(Runs(__import__, "antigravity"), 2),
    "breakout_by_dots": _program("\x8c\x13torch.serialization", "\x8c\x09os.system", "\x93"),
    "module_of_ours": _program(_GLOBAL("flambeau.serialization.loading", "os"), "."),
    "function_of_torch": _program(_GLOBAL("torch.hub", "load"), ")R"),
    "module_class": _structure(flambeau.nn.Linear(1, 1)),
    "inst": _program("(X\x04\x00\x00\x00true", "ios\nsystem\n"),
    "obj": _program("(", _GLOBAL("collections", "OrderedDict"), "o"),
    "extension": _program(b"\x82\x01"),
    "call_of_a_dtype": _program(_GLOBAL("torch", "float32"), ")R"),
    "call_of_text": _program("X\x04\x00\x00\x00true)R"),
    "new_of_tensor": _program(_GLOBAL("torch", "Tensor"), ")\x81"),
    "attributes_of_a_class": _program(_GLOBAL("torch", "Tensor"), "}X\x03\x00\x00\x00sumNsb"),
    "attributes_of_a_function": _program(_REBUILD, "}X\x08\x00\x00\x00__code__Nsb"),
    "method_of_a_dictionary": _program(_EMPTY, "}X\x05\x00\x00\x00itemsNsb"),
    "append_to_a_tensor": _program(_REBUILD, "(", _STORAGE, "K\x00K\x04\x85K\x01\x85\x89", _EMPTY, "tR", "K\x01a"),
    "private_attribute_of_a_tensor": _program(
        _GLOBAL("torch._tensor", "_rebuild_from_type_v2"),
        "(",
        _REBUILD,
        _GLOBAL("torch", "Tensor"),
        "(",
        _STORAGE,
        "K\x00K\x04\x85K\x01\x85\x89",
        _EMPTY,
        "t}X\x05\x00\x00\x00_nodeK\x01stR",
    ),
    "rebuilding_by_another_function": _program(
        _GLOBAL("torch._tensor", "_rebuild_from_type_v2"),
        "(",
        _GLOBAL("__builtin__", "set"),
        _GLOBAL("torch", "Tensor"),
        ")}tR",
    ),
    "beyond_the_storage": _program(_REBUILD, "(", _STORAGE, "K\x01K\x04\x85K\x01\x85\x89", _EMPTY, "tR"),
    "far_beyond_the_storage": _program(
        _REBUILD, "(", _STORAGE, "K\x00K\x02\x85\x8a\x07\xff\xff\xff\xff\xff\xff\x7f\x85\x89", _EMPTY, "tR"
    ),
    "negative_offset": _program(_REBUILD, "(", _STORAGE, "J\xff\xff\xff\xffK\x02\x85K\x01\x85\x89", _EMPTY, "tR"),
    "negative_stride": _program(_REBUILD, "(", _STORAGE, "K\x02K\x02\x85J\xff\xff\xff\xff\x85\x89", _EMPTY, "tR"),
    "more_strides_than_sizes": _program(_REBUILD, "(", _STORAGE, "K\x00K\x02\x85K\x01K\x01\x86\x89", _EMPTY, "tR"),
    "sizes_of_text": _program(_REBUILD, "(", _STORAGE, "K\x00X\x01\x00\x00\x002\x85K\x01\x85\x89", _EMPTY, "tR"),
    "no_storage": _program(_REBUILD, "(K\x01K\x00K\x02\x85K\x01\x85\x89", _EMPTY, "tR"),
    "unknown_identity": _program("X\x03\x00\x00\x00abcQ"),
    "size_of_storage": _program(_STORAGE.replace("K\x04", "K\x09")),
    "missing_storage": _program(_STORAGE.replace("\x000X", "\x007X")),
    "unknown_storage_class": _program(_STORAGE.replace("FloatStorage", "float32")),
    "codec": _program("c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R"),
    "huge_bytearray": _program("c__builtin__\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x7f\x85R"),
    "huge_text": _program(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"),
    "unhashable_key": _program("}]K\x01s"),
    "stack_underflow": _program("R"),
    "empty_structure": b"",
    "no_stop": b"\x80\x02K\x01",
    "nonsense": b"\x00" * 40,
    "protocol": b"\x80\x63.",
}


REASONS = {
    "os.system": "unsupported GLOBAL os.system whose module is blocked",
    "posix.system": "unsupported GLOBAL posix.system whose module is blocked",
    "eval": "Unsupported global: GLOBAL __builtin__.eval was not an allowed global",
    "exec": "Unsupported global: GLOBAL builtins.exec was not an allowed global",
    "getattr": "Unsupported global: GLOBAL __builtin__.getattr",
    "subprocess": "Unsupported global: GLOBAL commands.call",
    "import": "Unsupported global: GLOBAL __builtin__.__import__",
    "breakout_by_dots": "Unsupported global: GLOBAL torch.serialization.os.system",
    "module_of_ours": "Unsupported global: GLOBAL flambeau.serialization.loading.os",
    "function_of_torch": "Unsupported global: GLOBAL torch.hub.load",
    "module_class": "Unsupported global: GLOBAL torch.nn.modules.linear.Linear",
    "inst": r"pickle instruction, or refers to a value, that data does not have \(105\): it is hostile",
    "obj": r"pickle instruction, or refers to a value, that data does not have \(111\): it is hostile",
    "extension": r"pickle instruction, or refers to a value, that data does not have \(130\): it is hostile",
    "call_of_a_dtype": "the file calls torch.float32, which is not allowed",
    "call_of_text": "the file calls true, which is not allowed",
    "new_of_tensor": "the file makes an object of <class 'flambeau.*Tensor'>, which is not allowed",
    "attributes_of_a_class": "the file sets attributes of <class 'type'>, which is not allowed",
    "attributes_of_a_function": "the file sets attributes of <class 'method'>, which is not allowed",
    "method_of_a_dictionary": "the file gives a dictionary attributes that may not be set",
    "append_to_a_tensor": "the file puts elements into <class 'flambeau.*Tensor'>, which is not allowed",
    "private_attribute_of_a_tensor": "a tensor in the file has an attribute that may not be set: '_node'",
    "rebuilding_by_another_function": "is to be rebuilt by something else than PyTorch's functions",
    "beyond_the_storage": "requiring a storage size of 20 are out of bounds for storage of size 16",
    "far_beyond_the_storage": "requiring a storage size of 144115188075855872 are out of bounds for storage of size 16",
    "negative_offset": r"a tensor in the file has a storage offset of \(-1,\)",
    "negative_stride": r"a tensor in the file has a stride of \(-1,\)",
    "more_strides_than_sizes": r"sizes \(2,\) and strides \(1, 1\), which do not fit",
    "sizes_of_text": r"a tensor in the file has a size of \('2',\)",
    "no_storage": "a tensor in the file has no storage",
    "unknown_identity": "unknown persistent identity in the file: abc",
    "size_of_storage": "the storage '0' should have 36 bytes and has 16",
    "missing_storage": "failed locating file data/7: file not found",
    "unknown_storage_class": "a storage in the file is of no known class: torch.float32",
    "codec": "only text in latin1, utf-8 or ascii is made into bytes",
    "huge_bytearray": "a bytearray is made from bytes only",
    "huge_text": "damaged, or no checkpoint: what it holds breaks off",
    "unhashable_key": "damaged, or no checkpoint: TypeError: unhashable type: 'list'",
    "stack_underflow": "damaged, or no checkpoint: IndexError: pop from empty list",
    "empty_structure": "damaged, or no checkpoint: what it holds breaks off",
    "no_stop": "damaged, or no checkpoint: what it holds breaks off",
    "nonsense": r"pickle instruction, or refers to a value, that data does not have \(0\): it is hostile",
    "protocol": "damaged, or no checkpoint: ValueError: unsupported pickle protocol: 99",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_structures_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((pickle.UnpicklingError, RuntimeError), match=REASONS[name]):
        flambeau.load(_packed(HOSTILE[name], _FOUR))
    assert os.listdir(tmp_path) == []


def test_harmless_neighbour_of_the_hostile_loads():
    tensor = flambeau.load(
        _packed(_program(_REBUILD, "(", _STORAGE, "K\x00K\x04\x85K\x01\x85\x89", _EMPTY, "tR"), _FOUR)
    )
    assert tensor.tolist() == [0.0] * 4


def test_a_refusal_names_class_and_remedy():
    with pytest.raises(pickle.UnpicklingError, match=r"Unsupported global: GLOBAL .*_Plain") as caught:
        flambeau.load(io.BytesIO(_saved(_Plain())))
    assert "add_safe_globals" in str(caught.value)
    assert "Weights only load failed" in str(caught.value)


class _Plain:
    """A class that nobody declared safe."""


class Safe:
    """Declared safe."""

    def __init__(self, value):
        self.value = value


def test_safe_globals():
    data = _saved({"a": Safe(flambeau.ones(1))})
    assert serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data)) == [f"{__name__}.Safe"]
    with serialization.safe_globals([Safe]):
        assert flambeau.load(io.BytesIO(data))["a"].value.item() == 1.0
    with pytest.raises(pickle.UnpicklingError):
        flambeau.load(io.BytesIO(data))
    serialization.add_safe_globals([(Safe, f"{__name__}.Safe")])
    try:
        assert serialization.get_safe_globals() == [Safe]
        assert flambeau.load(io.BytesIO(data))["a"].value.item() == 1.0
    finally:
        serialization.clear_safe_globals()
    assert flambeau.load(io.BytesIO(data), weights_only=False)["a"].value.item() == 1.0


def test_blocked_modules_stay_blocked():
    with serialization.safe_globals([(os.system, "posix.system")]), pytest.raises(pickle.UnpicklingError):
        flambeau.load(_packed(HOSTILE["posix.system"]))


@pytest.mark.parametrize("mmap", [False, True])
def test_truncated_files_are_refused(tmp_path, mmap):
    data = _saved({"weight": flambeau.arange(100.0)})
    path = tmp_path / "truncated.pt"
    for count in range(0, len(data), 7):
        path.write_bytes(data[:count])
        kind, reason = RuntimeError, "failed reading zip archive.*truncated or damaged"
        if count == 0:
            kind, reason = EOFError, "the file is empty"
        elif count < 4:
            kind, reason = pickle.UnpicklingError, "the file is no checkpoint"
        with pytest.raises(kind, match=reason):
            flambeau.load(path, mmap=mmap)


@pytest.mark.parametrize("mmap", [False, True])
def test_damaged_bytes_are_noticed_or_harmless(tmp_path, mmap):
    data = _saved({"weight": flambeau.arange(50.0), "names": ["a", "b"]})
    path = tmp_path / "damaged.pt"
    draw = random.Random(0)
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(draw.choice([1, 1, 4])):
            changed[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(changed)
        try:
            flambeau.load(path, mmap=mmap)
        except (RuntimeError, pickle.UnpicklingError, EOFError):
            continue


def test_damaged_values_are_noticed():
    data = bytearray(_saved(flambeau.arange(50.0)))
    at = data.index(b"\x00\x00\x44\x42")
    data[at] ^= 1
    with pytest.raises(RuntimeError, match="CRC"):
        flambeau.load(io.BytesIO(data))


def test_other_files_are_told_apart():
    with pytest.raises(pickle.UnpicklingError, match="no checkpoint"):
        flambeau.load(io.BytesIO(b"hello, this is text"))
    with pytest.raises(EOFError):
        flambeau.load(io.BytesIO())
    with pytest.raises(RuntimeError, match="TorchScript"):
        flambeau.load(_packed(_structure(1), **{"constants.pkl": b""}))
    with pytest.raises(RuntimeError, match="byte order"):
        flambeau.load(_packed(_structure(1), byteorder=b"middle"))
    with pytest.raises(FileNotFoundError):
        flambeau.load("there_is_no_such_file.pt")
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", _structure([0] * 1000))
    compressed.seek(0)
    with pytest.raises(RuntimeError, match="compressed"):
        flambeau.load(compressed)


def test_big_endian():
    structure = _structure(flambeau.zeros(2, dtype=flambeau.int32))
    loaded = flambeau.load(_packed(structure, {"0": b"\0\0\0\1\0\0\0\2"}, byteorder=b"big"))
    assert loaded.tolist() == [1, 2]


def test_truth_values_other_than_0_and_1():
    structure = _structure(flambeau.zeros(3, dtype=flambeau.bool))
    assert flambeau.load(_packed(structure, {"0": b"\0\2\xff"})).tolist() == [False, True, True]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.pt"
    flambeau.save(1, path)
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        flambeau.save({"a": flambeau.ones(3), "b": lambda: 0}, path)
    assert flambeau.load(path) == 1
    assert os.listdir(tmp_path) == ["model.pt"]


# Imports once; then each line has a copy of it save for ever, until that is killed.
_SAVERS = """
import os
import sys
import flambeau

tensor = flambeau.ones(200_000)
tensor.tolist()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        step = int(line)
        while True:
            step += 1
            flambeau.save({"step": step, "tensor": tensor * step, "more": [tensor] * 3}, sys.argv[1])
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def _load_whole(path):
    loaded = flambeau.load(path)
    assert (loaded["tensor"] == loaded["step"]).all().item()
    return loaded


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_savers_leave_whole_files(tmp_path):
    path = tmp_path / "model.pt"
    flambeau.save({"step": 0, "tensor": flambeau.zeros(1)}, path)
    draw = random.Random(0)
    savers = subprocess.Popen(
        [sys.executable, "-c", _SAVERS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(flambeau.__file__).parents[1]),
            "FLAMBEAU_TIER": "interpreter",
            "OPENBLAS_NUM_THREADS": "1",
        },
    )
    step = 0
    saved = 0
    patience = 0.06  # A busy machine needs longer for a save, which is to be met in the middle as often as between two.
    try:
        for _ in range(100):
            savers.stdin.write(f"{step}\n")
            saver = int(savers.stdout.readline())
            time.sleep(draw.uniform(0.0, patience))
            # Whoever reads meanwhile finds a whole file as well.
            _load_whole(path)
            os.kill(saver, signal.SIGKILL)
            assert savers.stdout.readline() == "gone\n"
            loaded = _load_whole(path)
            patience = max(0.06, patience * (0.9 if loaded["step"] > step else 1.1))
            saved += loaded["step"] - step
            step = loaded["step"]
    finally:
        savers.stdin.close()
        savers.wait()
        savers.stdout.close()
    assert saved
    # Each removes what the one before it left.
    assert len(os.listdir(tmp_path)) <= 2


# Dies in the middle of writing.
_KILLED = """
import os
import signal
import sys
from flambeau.serialization.replacing import replacing

with replacing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs file locks")
def test_a_save_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "model.pt"
    environment = {**os.environ, "PYTHONPATH": str(Path(flambeau.__file__).parents[1])}
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    assert re.fullmatch(r"\.model\.pt\..{8}\.flambeau\.tmp", left)
    flambeau.save(1, path)
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_save_removes_neither_what_is_being_written_nor_what_is_none_of_its_own(tmp_path):
    path = tmp_path / "model.pt"
    others = {".model.pt.swp", ".model.pt.12345678.tmp", ".model_pt.12345678.flambeau.tmp"}
    for other in others:
        (tmp_path / other).touch()
    (tmp_path / ".model.pt.12345678.flambeau.tmp").touch()
    with replacing(str(path)) as file:
        file.write(b"half")
        flambeau.save(2, path)
        assert flambeau.load(path) == 2
        assert len(os.listdir(tmp_path)) == len({"model.pt", *others}) + 1
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert set(os.listdir(tmp_path)) == {"model.pt", *others}
