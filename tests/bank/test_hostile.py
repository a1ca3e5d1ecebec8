"""Files from anyone: refused with one line, or read exactly. No crash, no hang, no other file, no memory."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5f, h5p, h5s, h5t

from maskbank.bank import layout
from maskbank.bank.layout import Content
from maskbank.recipes import canonical_json
from tests.bank.forgery import MEMORY, RECIPE, N, forge, look, original
from tests.bank.processes import Warm
from tests.conftest import Share

__all__ = ["original"]


def replaced(name: str, make: Callable[[h5py.File], Any]) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[name]
        make(file)

    return edit


def linked(name: str, link: Any) -> Callable[[h5py.File], None]:
    def make(file: h5py.File) -> None:
        file[name] = link

    return make


def _virtual(file: h5py.File) -> None:
    shape = (N, 8, 8, 8)
    virtual = h5py.VirtualLayout(shape, "f2")
    virtual[:] = h5py.VirtualSource("trap", "noise", shape)
    file.create_virtual_dataset("noise", virtual)


def _filtered(file: h5py.File) -> None:
    """Add a filter that only a plugin could read."""
    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_chunk((1, 8, 8, 8))
    settings.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1, 2, 3))
    h5d.create(file.id, b"noise", h5t.IEEE_F16LE, h5s.create_simple((N, 8, 8, 8)), settings)


def _compact(file: h5py.File) -> None:
    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_layout(h5d.COMPACT)
    h5d.create(file.id, b"written", h5t.STD_U8LE, h5s.create_simple((N,)), settings)


SHAPE = (N, 8, 8, 8)
EVIL: dict[str, Callable[[h5py.File], None]] = {
    **{
        f"soft link to {name}": replaced(name, linked(name, h5py.SoftLink("/x")))
        for name in ("crc32", "written", "sigma", "noise")
    },
    **{
        f"external link to {name}": replaced(name, linked(name, h5py.ExternalLink("trap", f"/{name}")))
        for name in ("crc32", "written", "sigma", "noise")
    },
    "external storage": replaced("noise", lambda f: f.create_dataset("noise", SHAPE, "f2", external="trap")),
    "virtual": replaced("noise", _virtual),
    "chunked": replaced("noise", lambda f: f.create_dataset("noise", SHAPE, "f2", chunks=(1, 8, 8, 8))),
    "resizable": replaced(
        "noise", lambda f: f.create_dataset("noise", SHAPE, "f2", maxshape=(None, 8, 8, 8))
    ),
    "gzip": replaced("noise", lambda f: f.create_dataset("noise", SHAPE, "f2", compression="gzip")),
    "an unknown filter": replaced("noise", _filtered),
    "compact": replaced("written", _compact),
    "a group": replaced("noise", lambda f: f.create_group("noise")),
    "a committed type": replaced("noise", lambda f: f.__setitem__("noise", np.dtype("f2"))),
    "a link to the root": replaced("noise", lambda f: f.__setitem__("noise", f["/"])),
    "two names of one dataset": replaced("crc32", lambda f: f.__setitem__("crc32", f["written"])),
    "vlen": replaced("noise", lambda f: f.create_dataset("noise", (N,), h5py.vlen_dtype("f2"))),
    "strings": replaced("noise", lambda f: f.create_dataset("noise", (N,), h5py.string_dtype())),
    "compound": replaced("noise", lambda f: f.create_dataset("noise", SHAPE, [("a", "f2"), ("b", "f2")])),
    "opaque": replaced("noise", lambda f: f.create_dataset("noise", SHAPE, "V2")),
    "enum": replaced("written", lambda f: f.create_dataset("written", (N,), h5py.enum_dtype({"a": 1}, "u1"))),
    "references": replaced("noise", lambda f: f.create_dataset("noise", (N,), h5py.ref_dtype)),
    "big-endian": replaced("noise", lambda f: f.create_dataset("noise", SHAPE, ">f2")),
    "another type": replaced("noise", lambda f: f.create_dataset("noise", SHAPE, "u2")),
    "a scalar": replaced("crc32", lambda f: f.create_dataset("crc32", (), "u4")),
    "nothing": replaced("crc32", lambda f: f.create_dataset("crc32", data=h5py.Empty("u4"))),
    "no items": replaced("crc32", lambda f: f.create_dataset("crc32", (0,), "u4")),
    "too many items": replaced("crc32", lambda f: f.create_dataset("crc32", (N + 1,), "u4")),
    "another shape": replaced("noise", lambda f: f.create_dataset("noise", (N, 8, 8, 9), "f2")),
    "another rank": replaced("noise", lambda f: f.create_dataset("noise", (N, 512), "f2")),
    "32 axes": replaced("noise", lambda f: f.create_dataset("noise", (1,) * 32, "f2")),
    "late allocation": replaced("noise", lambda f: f.create_dataset("noise", SHAPE, "f2")),
    "no noise": replaced("noise", lambda f: None),
    "no sigma": replaced("sigma", lambda f: None),
    "no crc32": replaced("crc32", lambda f: None),
    "something behind the noise": lambda f: f.create_dataset("more", data=np.zeros(9000, "u1")),
    "noise in a group's place": replaced("noise", lambda f: f.create_dataset("noise/noise", SHAPE, "f2")),
    "noise that moved": replaced("noise", lambda f: f.create_dataset("noise", data=np.zeros(SHAPE, "f2"))),
}


def test_evil_files_are_refused(warm: Warm, tmp_path: Path) -> None:
    """One file for each attack. "trap" is a pipe: a process that opens it hangs."""
    os.mkfifo(tmp_path / "trap")
    paths = []
    for k, (name, edit) in enumerate(EVIL.items()):
        version = h5f.LIBVER_V110 if name == "virtual" else h5f.LIBVER_V18
        paths.append(forge(tmp_path / f"{k} {name}.h5", edit=edit, version=version, data=False))
    for path, answer in zip(paths, look(warm, *paths), strict=True):
        if "noise that moved" in path.name:  # zeros, where items should be
            assert answer.startswith(("refused", "damaged")), answer
        else:
            assert answer.startswith("refused"), f"{path.name}: {answer}"


def test_a_bank_that_another_program_wrote_is_a_bank(warm: Warm, tmp_path: Path) -> None:
    """Checks the forger itself: a file is refused only for what the forger changed."""
    path = forge(tmp_path / "b.h5")
    assert look(warm, path) == ["whole"]
    assert path.read_bytes() == (tmp_path / "good.h5").read_bytes()


def attribute(value: Any, name: str = "recipe") -> dict[str, Any]:
    return {name: np.bytes_(value) if isinstance(value, str | bytes) else value}


def recipe_with(**values: Any) -> dict[str, Any]:
    return attribute(json.dumps({**RECIPE.to_dict(), **values}))


HUGE = 10**30
ATTRIBUTES: dict[str, dict[str, Any]] = {
    **{f"no {name}": {name: None} for name in layout._attributes(Content(RECIPE, 0, N))},
    "format version 2": attribute(np.int64(2), "format_version"),
    "format version -1": attribute(np.int64(-1), "format_version"),
    "format version 1.0": attribute(np.float64(1.0), "format_version"),
    "format version as text": attribute("1", "format_version"),
    "format versions": attribute(np.array([1, 1]), "format_version"),
    "numbers version 2": attribute(np.int64(2), "numbers_version"),
    "another format": attribute("maskbanks", "format"),
    "another kind": attribute("red3d", "kind"),
    "an unknown kind": attribute("pink3d", "kind"),
    "no text as kind": attribute(np.int64(3), "kind"),
    "another fingerprint": attribute("0" * 12, "fingerprint"),
    "a fingerprint in capitals": attribute(Content(RECIPE, 0, N).fingerprint.upper(), "fingerprint"),
    "another seed": attribute(np.uint64(1), "seed"),
    "a seed of floats": attribute(np.float64(0), "seed"),
    "seeds": attribute(np.zeros(2, np.uint64), "seed"),
    "an empty seed": attribute(h5py.Empty("u8"), "seed"),
    "a true seed": attribute(np.bool_(False), "seed"),
    "another first": attribute(np.uint64(1), "first"),
    "not JSON": attribute("{"),
    "empty recipe": attribute(h5py.Empty("S1")),
    "JSON of something else": attribute("[1, 2]"),
    "a recipe of bytes": attribute(b"\xff\xfe\x00{"),
    "a recipe of variable length": {"recipe": "{}"},
    "deep JSON": attribute("[" * 60_000),
    "deep JSON objects": attribute('{"a":' * 12_000),
    "recipes": {"recipe": np.array([b"{}", b"{}"])},
    "an unknown name": recipe_with(more=1),
    "NaN as sigma": recipe_with(sigma1=[float("nan"), 1.0]),
    "infinite sigma": recipe_with(sigma2=[1.0, float("inf")]),
    "sigma as text": recipe_with(sigma1="0.4 1.5"),
    "sigma as objects": recipe_with(sigma1=[{}, []]),
    "sigma as null": recipe_with(sigma1=None),
    "a huge size": recipe_with(size=[HUGE, HUGE, HUGE]),
    "a large size": recipe_with(size=[2**14, 2**14, 1]),
    "a negative size": recipe_with(size=[-8, -8, 8]),
    "a size of floats": recipe_with(size=[8.0, 8.0, 8.0]),
    "a size of one": recipe_with(size=[512]),
    "another size": recipe_with(size=[8, 8, 4]),
    "an unknown dtype": recipe_with(dtype="float64"),
    "a list as dtype": recipe_with(dtype=["float16"]),
    "an unknown boundary": recipe_with(boundary="open"),
    "a long number": attribute('{"size":[' + "9" * 5000 + ",8,8]}"),
}


def test_attributes_that_do_not_fit_are_refused(warm: Warm, tmp_path: Path) -> None:
    paths = [
        forge(tmp_path / f"{k}.h5", attributes=attributes, data=False)
        for k, attributes in enumerate(ATTRIBUTES.values())
    ]
    for name, answer in zip(ATTRIBUTES, look(warm, *paths), strict=True):
        assert answer.startswith("refused"), f"{name}: {answer}"


def test_huge_attributes_cost_no_more_than_they_hold(warm: Warm, tmp_path: Path) -> None:
    """Attributes in dense storage: strings of 10 MB, and one of variable length."""
    paths = []
    for k, (name, value) in enumerate(
        [
            ("recipe", np.bytes_(b" " * 10_000_000)),
            ("recipe", np.bytes_(b"[" * 10_000_000)),
            ("format", np.bytes_(b"maskbank" * 1_000_000)),
            ("seed", np.zeros(1_000_000, np.uint64)),
            ("recipe", "x" * 10_000_000),
        ]
    ):

        def edit(file: h5py.File, name: str = name, value: Any = value) -> None:
            del file.attrs[name]
            file.attrs.create(name, value)

        path = forge(tmp_path / f"{k}.h5", edit=edit, version=h5f.LIBVER_V110, data=False)
        paths.append(path)
    assert all(answer.startswith("refused") for answer in look(warm, *paths))

    def many(file: h5py.File) -> None:
        for k in range(4000):
            file.attrs.create(f"more{k}", np.bytes_(b"x" * 100))

    look(warm, forge(tmp_path / "many.h5", edit=many, version=h5f.LIBVER_V110))


def test_an_order_or_place_that_is_no_banks_is_refused(warm: Warm, tmp_path: Path) -> None:
    names = tuple(Content(RECIPE, 0, N).tables)
    paths = []
    random_ = random.Random(9)
    for k in range(8):
        order = names
        while order == names:
            order = tuple(random_.sample(names, 4))
        paths.append(forge(tmp_path / f"order{k}.h5", order=order, data=False))
    paths.append(forge(tmp_path / "near.h5", alignment=512, data=False))
    assert all(answer.startswith("refused") for answer in look(warm, *paths))


def test_no_plugin_is_loaded(warm: Warm, original: Path, tmp_path: Path) -> None:
    """Where HDF5 cannot open a file, it loads all libraries in its folder of plugins."""
    trap = warm.plugins / "libevil.so"  # a pipe: a process that loads it hangs
    os.mkfifo(trap)
    try:
        damaged = bytearray(original.read_bytes())
        damaged[20] ^= 1
        (tmp_path / "damaged.h5").write_bytes(damaged)
        path = forge(tmp_path / "filtered.h5", edit=EVIL["an unknown filter"])
        look(warm, path, limit=5.0)
        look(warm, tmp_path / "damaged.h5", limit=5.0)
    finally:
        trap.unlink()


def test_what_is_no_file_is_never_opened(warm: Warm, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "empty.h5").touch()
    (tmp_path / "loop.h5").symlink_to("loop.h5")
    (tmp_path / "a.h5").symlink_to("b.h5")
    (tmp_path / "b.h5").symlink_to("a.h5")
    (tmp_path / "dangling.h5").symlink_to("nowhere.h5")
    (tmp_path / "to-pipe.h5").symlink_to("pipe.h5")
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "nowhere.h5"]
    paths += [Path(name) for name in ("/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/proc/self/mem")]
    assert all(answer.startswith("refused") for answer in look(warm, *paths))


@pytest.mark.parametrize("command", ["repair", "join", "rebuild", "generate", "inspect", "verify"])
def test_commands_leave_what_is_no_file_alone(command: str, warm: Warm, tmp_path: Path) -> None:
    """Pipes, folders, loops and devices, wherever a command takes a file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").touch()
    before = sorted(os.listdir(tmp_path))
    args = {
        "join": ["join", "-o", "out.h5", "{}"],
        "rebuild": ["rebuild", "{}", "-o", "out.h5"],
        "generate": ["generate", "white2d", "--size", "4x4", "-n", "3", "-o", "{}"],
    }.get(command, [command, "{}"])
    for name in ("pipe", "folder", "loop", "empty", "/dev/null", "nowhere"):
        if command == "generate" and name == "nowhere":
            continue
        ended = warm.maskbank(*(arg.format(name) for arg in args), cwd=str(tmp_path), limit=10.0)
        assert ended.code in (1, 2), (name, ended)
        assert name in ended.line(ended.code) or command == "rebuild"
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("command", ["verify", "repair", "join", "inspect", "rebuild"])
def test_a_mutated_part_or_bank_stops_every_command_with_one_line(
    command: str, warm: Warm, original: Path, tmp_path: Path
) -> None:
    path = tmp_path / "b.h5"
    shutil.copy(original, path)
    with open(path, "r+b") as file:
        file.seek(60)
        file.write(b"\xff" * 12_000)
    args = {"join": ["join", "-o", str(tmp_path / "out.h5"), str(path)]}.get(command, [command, str(path)])
    line = warm.maskbank(*args, cwd=str(tmp_path)).line(1)
    assert str(path) in line
    assert os.listdir(tmp_path) == ["b.h5"]


def test_a_rebuild_line_that_was_altered_is_refused(
    warm: Warm, original: Path, tmp_path: Path, share: Share
) -> None:
    line = warm.maskbank("inspect", original, "--recipe").out.strip()
    values = json.loads(line)
    others: list[Any] = [None, [], {}, {**values["recipe"], "more": 1}]
    altered: list[Any] = [
        line[:-1], line[:40], "{}", "{", "[" * 50_000, '{"a":' * 50_000, line.replace("green3d", "red3d"),
        *({**values, "n": n} for n in (0, -1, 19, 21, 2**60, 1e9, True, None, "20")),
        *({**values, "seed": seed} for seed in (-1, 1, 2**64, 0.5, "0", None)),
        *({**values, "first": first} for first in (-1, 1, 2**64, None)),
        *({**values, "numbers_version": version} for version in (2, 0, None, "1")),
        *({**values, "kind": kind} for kind in ("blue3d", "", None, ["green3d"])),
        *({**values, "recipe": recipe} for recipe in others),
        {**values, "recipe": {**values["recipe"], "size": [8, 8, 9]}},
        {**values, "recipe": {**values["recipe"], "sigma1": [float("nan"), 1]}},
        {**values, "fingerprint": "0" * 12}, {**values, "more": 1},
        {name: value for name, value in values.items() if name != "seed"},
    ]  # fmt: skip
    for k, one in enumerate(altered):
        text = one if isinstance(one, str) else canonical_json(one)
        path = tmp_path / f"{k}.json"
        path.write_text(text)
        as_argument = text.startswith("{") and len(text) < 100_000 and (k % 5 == 0 or share(5) == 5)
        given = [text, str(path)] if as_argument else [str(path)]
        for argument in given:
            ended = warm.maskbank("rebuild", argument, "-o", tmp_path / "out.h5", memory=MEMORY)
            assert ended.code in (1, 2), (text[:200], ended)
            assert len(ended.line(ended.code)) < 1500
    assert not (tmp_path / "out.h5").exists()
    assert warm.maskbank("rebuild", line, "-o", tmp_path / "out.h5").code == 0
    assert (tmp_path / "out.h5").read_bytes() == original.read_bytes()
