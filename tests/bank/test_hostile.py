"""Files from anyone: refused with one line, or read exactly. No crash, no hang, no other file, no memory."""

import collections
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
from h5py import h5d, h5p, h5s, h5t

import maskbank
from maskbank.bank import layout
from maskbank.bank.layout import Content
from maskbank.recipes import Green, canonical_json
from tests.bank.conftest import Share
from tests.bank.processes import Ended, Warm

RECIPE = Green(size=(8, 8, 8))
N = 20
MEMORY = 96 * 2**20  # for four threads and all; an allocation on a header's word would be far beyond


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "bank.h5"
    maskbank.generate(path, RECIPE, N)
    return path


def look(warm: Warm, *paths: Path, limit: float = 20.0) -> list[str]:
    """What a process with little memory says of files."""
    ended = warm.call("tests.bank.hostile:look_at", [str(path) for path in paths], memory=MEMORY, limit=limit)
    assert ended.code == 0, ended
    answers: list[str] = ended.result
    for path, answer in zip(paths, answers, strict=True):
        assert not answer.startswith("WRONG"), f"{path.name}: {answer}"
    return answers


def forge(
    path: Path,
    content: Content | None = None,
    attributes: dict[str, Any] | None = None,
    data: bool = True,
    alignment: int = 4096,
    order: tuple[str, ...] = (),
    edit: Callable[[h5py.File], None] | None = None,
    libver: tuple[str, str] = ("v108", "v108"),
    times: bool = False,
) -> Path:
    """A bank as somebody else might write it. attributes: others than the right ones; None: left out."""
    content = content or Content(RECIPE, 0, N)
    tables = content.tables
    with h5py.File(
        path, "w", libver=libver, alignment_threshold=1, alignment_interval=alignment, track_times=times
    ) as file:
        for name, value in {**layout._attributes(content), **(attributes or {})}.items():
            if value is not None:
                file.attrs.create(name, value)
        for name in order or tables:
            shape, dtype = tables[name]
            settings = h5p.create(h5p.DATASET_CREATE)
            settings.set_alloc_time(h5d.ALLOC_TIME_EARLY)
            settings.set_fill_time(h5d.FILL_TIME_NEVER)
            settings.set_obj_track_times(False)
            made = h5d.create(
                file.id, name.encode(), h5t.py_create(dtype), h5s.create_simple(shape), settings
            )
            del made
        if data and content.n <= N:
            good = maskbank.generate(path.parent / "good.h5", content.recipe, content.n)
            for name in tables:
                file[name][...] = good.parts[0].table(name)
        if "noise" in file and edit is None:
            file["noise"].attrs.create("axes", np.bytes_("item,T,H,W"))
        if edit:
            edit(file)
    return path


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
    """A filter that only a plugin could know."""
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
    """One each. "trap" is a pipe: whoever opens it hangs."""
    os.mkfifo(tmp_path / "trap")
    paths = []
    for k, (name, edit) in enumerate(EVIL.items()):
        newer = ("v110", "v110") if name == "virtual" else ("v108", "v108")
        paths.append(forge(tmp_path / f"{k} {name}.h5", edit=edit, libver=newer))
    for path, answer in zip(paths, look(warm, *paths), strict=True):
        if "noise that moved" in path.name:  # zeros, where items should be
            assert answer.startswith(("refused", "damaged")), answer
        else:
            assert answer.startswith("refused"), f"{path.name}: {answer}"


def test_a_bank_that_another_program_wrote_is_a_bank(warm: Warm, tmp_path: Path) -> None:
    """The forger's own check: nothing but what is changed is what gets a file refused."""
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
    """Dense storage, strings of 10 MB; and a variable-length one."""
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

        path = forge(tmp_path / f"{k}.h5", edit=edit, libver=("v110", "v110"))
        paths.append(path)
    assert all(answer.startswith("refused") for answer in look(warm, *paths))

    def many(file: h5py.File) -> None:
        for k in range(20_000):
            file.attrs.create(f"more{k}", np.bytes_(b"x" * 100))

    look(warm, forge(tmp_path / "many.h5", edit=many, libver=("v110", "v110")))


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


def place_of(content: bytes, name: str, found: layout.Layout) -> int:
    """Where the header says where a dataset stands: an address, and the size behind it."""
    shape, dtype = found.content.tables[name]
    size = int(np.prod(shape)) * dtype.itemsize
    words = found.offsets[name].to_bytes(8, "little") + size.to_bytes(8, "little")
    assert content[: found.offsets["noise"]].count(words) == 1
    return content.index(words)


def header_places(content: bytes, found: layout.Layout) -> list[int]:
    """Where the metadata stands: all that is not zero outside the tables."""
    inside: set[int] = set()
    for name, (shape, dtype) in found.content.tables.items():
        start = found.offsets[name]
        inside |= set(range(start, start + int(np.prod(shape)) * dtype.itemsize))
    return [k for k in range(found.offsets["noise"]) if content[k] and k not in inside]


def fix_checksums(content: bytearray) -> bytearray:
    """Make all checksums of the metadata right again: object headers are found by their signature."""
    at = -1
    while (at := content.find(b"OHDR", at + 1, 36864)) >= 0:
        flags = content[at + 5]
        position = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(content[position : position + width], "little")
        end = position + width + size
        content[end : end + 4] = lookup3(bytes(content[at:end])).to_bytes(4, "little")
    content[44:48] = lookup3(bytes(content[:44])).to_bytes(4, "little")
    return content


def lookup3(data: bytes) -> int:
    """Jenkins' hash, the checksum of HDF5's metadata."""
    mask = 0xFFFFFFFF

    def rot(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & mask

    a = b = c = (0xDEADBEEF + len(data)) & mask
    while len(data) > 12:
        x, y, z = (int.from_bytes(data[i : i + 4], "little") for i in (0, 4, 8))
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        a = (a - c) & mask ^ rot(c, 4)
        c = (c + b) & mask
        b = (b - a) & mask ^ rot(a, 6)
        a = (a + c) & mask
        c = (c - b) & mask ^ rot(b, 8)
        b = (b + a) & mask
        a = (a - c) & mask ^ rot(c, 16)
        c = (c + b) & mask
        b = (b - a) & mask ^ rot(a, 19)
        a = (a + c) & mask
        c = (c - b) & mask ^ rot(b, 4)
        b = (b + a) & mask
        data = data[12:]
    if not data:
        return c
    data = data.ljust(12, b"\0")
    x, y, z = (int.from_bytes(data[i : i + 4], "little") for i in (0, 4, 8))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    c = (c ^ b) - rot(b, 14) & mask
    a = (a ^ c) - rot(c, 11) & mask
    b = (b ^ a) - rot(a, 25) & mask
    c = (c ^ b) - rot(b, 16) & mask
    a = (a ^ c) - rot(c, 4) & mask
    b = (b ^ a) - rot(a, 14) & mask
    return (c ^ b) - rot(b, 24) & mask


def test_headers_with_right_checksums_and_wrong_places(warm: Warm, original: Path, tmp_path: Path) -> None:
    """What a clever forger writes: metadata whose checksums are right."""
    content = original.read_bytes()
    found = layout.read(original)
    assert bytes(fix_checksums(bytearray(content))) == content
    paths = []
    size = len(content)
    for name in found.offsets:
        at = place_of(content, name, found)
        for k, place in enumerate(
            (0, 48, 4096, 8192, *found.offsets.values(), size, size - 4096, 2**40, 2**63 - 4096, 2**64 - 4096,
             2**64 - 1, found.offsets[name] + 4096, found.offsets[name] - 4096, found.offsets[name] + 1)
        ):  # fmt: skip
            if place == found.offsets[name]:
                continue
            forged = bytearray(content)
            forged[at : at + 8] = place.to_bytes(8, "little")
            paths.append(tmp_path / f"{name} at {k} {place}.h5")
            paths[-1].write_bytes(fix_checksums(forged))
    for path, answer in zip(paths, look(warm, *paths), strict=True):
        assert answer.startswith(("refused", "damaged: ")), f"{path.name}: {answer}"


def test_headers_with_right_checksums_and_wrong_sizes(warm: Warm, original: Path, tmp_path: Path) -> None:
    """n = 2^60 and other numbers of items, with or without a header that agrees with itself."""
    content = original.read_bytes()
    found = layout.read(original)
    number = N.to_bytes(8, "little")
    places = [k for k in header_places(content, found) if content[k : k + 8] == number]
    assert len(places) >= 4
    paths = []
    for n in (0, 1, N - 1, N + 1, 2**31, 2**32 + N, 2**48, 2**48 + 1, 2**60, 2**63, 2**64 - 1):
        fingerprint = Content(RECIPE, 0, n).fingerprint.encode()
        for some in ([places[0]], places[-1:], places):
            forged = bytearray(content)
            for at in some:
                forged[at : at + 8] = n.to_bytes(8, "little")
            if some == places:
                at = content.index(Content(RECIPE, 0, N).fingerprint.encode())
                forged[at : at + 12] = fingerprint
            paths.append(tmp_path / f"{n} {some == places} {some[0]}.h5")
            paths[-1].write_bytes(fix_checksums(forged))
    for path, answer in zip(paths, look(warm, *paths), strict=True):
        # one number alone may be one that nothing depends on, as the size that a table could grow to
        assert answer.startswith("refused" if "True" in path.name else ("refused", "damaged: ", "whole"))


def test_random_headers_with_right_checksums(
    warm: Warm, original: Path, tmp_path: Path, share: Share
) -> None:
    """Damage that HDF5's own checksums do not show: refused, or opened as the identical content."""
    content = original.read_bytes()
    found = layout.read(original)
    used = header_places(content, found)
    random_ = random.Random(10)
    changes = []
    for _ in range(share(3000, 100)):
        forged = bytearray(content)
        for _ in range(random_.choice([1, 1, 1, 2, 4])):
            at = max(random_.choice(used) + random_.randint(-2, 2), 0)
            forged[at] = random_.choice(
                [random_.randrange(256), forged[at] ^ 1 << random_.randrange(8), 0, 255]
            )
        fix_checksums(forged)
        changes.append([[k, forged[k]] for k in range(36864) if forged[k] != content[k]])
    answers = mutants(warm, original, tmp_path, changes)
    wrong = [
        (change, answer)
        for change, answer in zip(changes, answers, strict=True)
        if answer.startswith("WRONG")
    ]
    assert not wrong, wrong[:3]


def mutants(
    warm: Warm, original: Path, folder: Path, changes: list[list[list[int]]], batch: int = 250
) -> list[str]:
    """What is said of mutated banks, looked at in processes of some at a time."""
    answers: list[str] = []
    progress = folder / "progress"
    for start in range(0, len(changes), batch):
        ended: Ended = warm.call(
            "tests.bank.hostile:mutate", str(original), str(folder), changes[start : start + batch],
            str(progress), memory=MEMORY, limit=120.0,
        )  # fmt: skip
        assert ended.code == 0, (
            f"{'hung' if ended.late else ended.code} at {progress.read_text()}: {ended.err}"
        )
        answers += ended.result
    return answers


def test_mutated_headers(warm: Warm, original: Path, quick_path: Path, share: Share) -> None:
    """Single bytes before the first table; and what happened to how many."""
    content = original.read_bytes()
    found = layout.read(original)
    used, end = header_places(content, found), found.offsets["crc32"]
    random_ = random.Random(11)
    changes = []
    for k in range(share(1500, 60)):
        at = random_.randrange(end) if k % 4 == 0 else random_.choice(used)
        changes.append([[at, content[at] ^ random_.randint(1, 255)]])
    answers = mutants(warm, original, quick_path, changes)
    kinds = collections.Counter(answer.split(":")[0] for answer in answers)
    assert set(kinds) <= {"refused", "damaged"}, [a for a in answers if a.startswith("WRONG")][:3]
    assert kinds["refused"] > len(changes) // 4


def test_mutated_banks(warm: Warm, original: Path, quick_path: Path, share: Share) -> None:
    """Flips, overwritten stretches, cuts, spliced pieces, anywhere: never a wrong item that verify likes."""
    content = original.read_bytes()
    random_ = random.Random(12)
    changes = []
    for _ in range(share(8500, 150)):
        manner = random_.choice(["flip", "flips", "zeros", "ones", "cut", "longer", "splice", "table"])
        at = random_.choice([random_.randrange(len(content)), random_.randrange(2048)])
        length = random_.choice([1, 4, 16, 100])
        stretch = range(at, min(at + length, len(content)))
        if manner == "flip":
            change = [[at, content[at] ^ 1 << random_.randrange(8)]]
        elif manner == "flips":
            change = [[k, random_.randrange(256)] for k in random_.sample(range(len(content)), length)]
        elif manner in ("zeros", "ones"):
            change = [[k, 0 if manner == "zeros" else 255] for k in stretch]
        elif manner == "cut":
            change = [[-1, random_.choice([at, len(content) - length])]]
        elif manner == "longer":
            change = [[-1, len(content) + random_.choice([1, 4096, 1024])]]
        elif manner == "splice":
            source = random_.choice([random_.randrange(2048), random_.randrange(len(content))])
            change = [[k, content[(source + k - at) % len(content)]] for k in stretch]
        else:
            change = [[4096 * random_.randrange(3, 10) + random_.randrange(80), random_.randrange(256)]]
        changes.append(change)
    answers = mutants(warm, original, quick_path, changes)
    kinds = collections.Counter(answer.split(":")[0] for answer in answers)
    assert set(kinds) <= {"refused", "damaged", "half-written", "whole"}, [
        (c[:3], a) for c, a in zip(changes, answers, strict=True) if a.startswith("WRONG")
    ][:3]
    assert kinds["refused"] > len(changes) // 8
    assert kinds["damaged"] > len(changes) // 8


def test_what_opens_is_repaired_to_the_original(
    warm: Warm, original: Path, quick_path: Path, share: Share
) -> None:
    content = original.read_bytes()
    random_ = random.Random(13)
    changes = [
        [[k, random_.randrange(256)] for k in sorted(random_.sample(range(600, len(content)), 3))]
        for _ in range(share(1000, 30))
    ]
    ended = warm.call(
        "tests.bank.hostile:repair_mutants",
        str(original),
        str(quick_path),
        changes,
        limit=300.0,
        settings={"maskbank.generation.threads:_PROGRESS_SECONDS": 0.002},
    )
    assert ended.code == 0, ended
    kinds = collections.Counter(ended.result)
    assert set(kinds) <= {"refused", "repaired"}, kinds
    assert kinds["repaired"] > len(changes) // 2


def test_truncated_at_every_length_near_the_structure(
    warm: Warm, original: Path, quick_path: Path, share: Share
) -> None:
    size = original.stat().st_size
    offsets = layout.read(original).offsets.values()
    lengths = {*range(2200), *range(size - 40, size), *range(size + 1, size + 40)}
    lengths |= {offset + k for offset in offsets for k in range(-8, 100)}
    some = sorted(lengths)
    if share(10) < 10:
        some = random.Random(14).sample(some, len(some) // 10)
    answers = mutants(warm, original, quick_path, [[[-1, length]] for length in some])
    assert {answer.split(":")[0] for answer in answers} == {"refused"}, [
        (length, answer) for length, answer in zip(some, answers, strict=True) if answer[:7] != "refused"
    ][:3]


def test_no_plugin_is_loaded(warm: Warm, original: Path, tmp_path: Path) -> None:
    """Where HDF5 cannot open a file, it asks all libraries in its folder of plugins whether they can."""
    trap = warm.plugins / "libevil.so"  # a pipe: whoever loads it hangs
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


def test_a_rebuild_line_that_was_altered_is_refused(warm: Warm, original: Path, tmp_path: Path) -> None:
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
        given = [text, str(path)] if text.startswith("{") and len(text) < 100_000 else [str(path)]
        for argument in given:
            ended = warm.maskbank("rebuild", argument, "-o", tmp_path / "out.h5", memory=MEMORY)
            assert ended.code in (1, 2), (text[:200], ended)
            assert len(ended.line(ended.code)) < 1500
    assert not (tmp_path / "out.h5").exists()
    assert warm.maskbank("rebuild", line, "-o", tmp_path / "out.h5").code == 0
    assert (tmp_path / "out.h5").read_bytes() == original.read_bytes()
