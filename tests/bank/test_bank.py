"""The bank file: layout, writer, reader, against real files and real processes."""

import concurrent.futures
import dataclasses
import errno
import fcntl
import gc
import hashlib
import json
import multiprocessing
import operator
import os
import pickle
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskbank
from maskbank import files, noise
from maskbank.bank import layout, superblock, writer
from maskbank.bank.layout import Content
from maskbank.generation import generate as generation
from maskbank.recipes import Blue, Green, Recipe, Red, White

SMALL = Green(size=(8, 8, 8))


@pytest.fixture(scope="module")
def bank_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bank") / "bank.h5"
    maskbank.generate(path, SMALL, 20, seed=7)
    return path


@pytest.fixture
def damaged(bank_path: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the bank with some bytes, or HDF5 objects, changed."""

    def change(edit: Callable[[h5py.File], None] | None = None, size: int | None = None) -> Path:
        path = tmp_path / "damaged.h5"
        shutil.copy(bank_path, path)
        if edit:
            with h5py.File(path, "r+") as file:
                edit(file)
        if size is not None:
            os.truncate(path, size)
        return path

    return change


def refusal(path: Path) -> str:
    with pytest.raises(maskbank.BankError) as caught:
        maskbank.Bank(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


# the file


@pytest.mark.parametrize("recipe", [SMALL, White(size=(3, 5)), Blue(size=(4, 6), dtype="float32"),
                                    Red(size=(2, 3, 5), dtype="uint8"), Green(size=(30,))])  # fmt: skip
def test_any_hdf5_program_reads_a_bank_as_the_contract_says(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    maskbank.generate(path, recipe, 11, seed=2**63 + 5)
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        assert (
            attributes.pop("recipe")
            == json.dumps(recipe.to_dict(), sort_keys=True, separators=(",", ":")).encode()
        )
        assert attributes == {
            "format": b"maskbank", "format_version": 1, "numbers_version": 1, "kind": recipe.kind.encode(),
            "seed": 2**63 + 5, "first": 0, "fingerprint": Content(recipe, 2**63 + 5, 11).fingerprint.encode(),
        }  # fmt: skip
        items = file["noise"][:]
        assert items.shape == (11, *recipe.size)
        assert items.dtype == np.dtype(recipe.dtype).newbyteorder("<")
        assert file["written"].dtype == "u1"
        assert (file["written"][:] == 1).all()
        assert file["crc32"].dtype == "<u4"
        assert file["crc32"][:].tolist() == [zlib.crc32(item.tobytes()) for item in items]
        axes = {1: b"item,L", 2: b"item,H,W", 3: b"item,T,H,W"}
        assert file["noise"].attrs["axes"] == axes[len(recipe.size)]
        names = ["crc32", "written", "sigma", "noise"] if recipe.ranges else ["crc32", "written", "noise"]
        assert sorted(file) == sorted(names)
        if recipe.ranges:
            assert file["sigma"].dtype == "<f4"
            np.testing.assert_array_equal(file["sigma"][:], noise.sigmas(recipe, 2**63 + 5, 0, 11))
        places = [file[name].id.get_offset() for name in names]
        assert all(place % 4096 == 0 for place in places)
        assert places == sorted(places)
        assert places[-1] + items.nbytes == os.path.getsize(path)
        for name in names:
            assert file[name].chunks is None
            assert file[name].fillvalue == 0
    for i in range(11):
        np.testing.assert_array_equal(items[i], noise.item(recipe, 2**63 + 5, i))


def test_the_superblock_is_version_2_and_metadata_is_small() -> None:
    made, pieces = layout.lay_out(Content(Green(), 0, 10**9))
    assert made.size > 5 * 10**14
    assert sum(len(piece) for _, piece in pieces) < 2048
    offset, first = pieces[-1]
    assert offset == 0
    assert first[:9] == superblock.SIGNATURE + b"\x02"
    assert all(offset >= len(first) for offset, _ in pieces[:-1])


def test_the_same_bank_is_the_same_file_for_any_workers_and_any_day(tmp_path: Path) -> None:
    files = []
    for workers in (1, 2, 5):
        path = tmp_path / f"{workers}.h5"
        maskbank.generate(path, SMALL, 3000, workers=workers)
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]


def test_a_short_bank_is_the_head_of_a_long_one(tmp_path: Path) -> None:
    short = maskbank.generate(tmp_path / "10.h5", SMALL, 10)
    long = maskbank.generate(tmp_path / "20.h5", SMALL, 20)
    np.testing.assert_array_equal(short[:], long[:10])
    np.testing.assert_array_equal(short.crc32, long.crc32[:10])
    assert short.sigma is not None
    assert long.sigma is not None
    np.testing.assert_array_equal(short.sigma, long.sigma[:10])
    assert short.fingerprint != long.fingerprint


@settings(max_examples=15)
@given(
    size=st.one_of(st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(1, 9)] * 3)),
    dtype=st.sampled_from(["float16", "float32", "uint8"]),
    n=st.integers(1, 700),
    workers=st.integers(1, 3),
)
def test_every_item_of_any_bank_is_in_its_place(
    size: tuple[int, ...], dtype: str, n: int, workers: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipe = White(size=size, dtype=dtype)
    bank = maskbank.generate(tmp_path_factory.mktemp("any") / "b.h5", recipe, n, seed=n, workers=workers)
    for i in {0, n // 2, n - 1}:
        np.testing.assert_array_equal(bank[i], noise.item(recipe, n, i))
    assert bank.crc32.tolist() == [zlib.crc32(item.tobytes()) for item in bank]


# the reader


def test_the_properties_of_a_bank(bank_path: Path) -> None:
    bank = maskbank.Bank(bank_path)
    assert len(bank) == 20
    assert bank.kind == "green3d"
    assert bank.recipe == SMALL
    assert bank.seed == 7
    assert bank.first == 0
    assert bank.shape == (20, 8, 8, 8)
    assert bank.dtype == np.float16
    assert bank.nbytes == bank_path.stat().st_size
    assert bank.fingerprint == Content(SMALL, 7, 20).fingerprint
    assert bank.sigma is not None
    assert bank.sigma.shape == (20, 2)
    assert "20 x green3d 8x8x8 float16" in repr(bank)


def test_items_are_read_only_views_of_one_map(bank_path: Path) -> None:
    bank = maskbank.Bank(bank_path)
    assert bank[3].shape == (8, 8, 8)
    assert np.shares_memory(bank[3], bank[2:5])
    assert not bank[3].flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        bank[3][0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        bank[2:5][0] = 1
    np.testing.assert_array_equal(bank[-1], bank[19])
    np.testing.assert_array_equal(bank[np.int64(4)], bank[4])
    assert bank[::-7].shape == (3, 8, 8, 8)
    assert len(list(bank)) == 20
    for index in (20, -21):
        with pytest.raises(IndexError, match="20 items"):
            bank[index]
    with pytest.raises(TypeError, match="whole number"):
        bank["3"]  # type: ignore[index]


def test_a_view_outlives_its_bank(bank_path: Path) -> None:
    bank = maskbank.Bank(bank_path)
    item, expected = bank[5], bank[5].copy()
    del bank
    gc.collect()
    np.testing.assert_array_equal(item, expected)


def test_no_hdf5_handle_is_kept(bank_path: Path) -> None:
    bank = maskbank.Bank(bank_path)
    files_and_datasets = h5py.h5f.OBJ_FILE | h5py.h5f.OBJ_DATASET
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, files_and_datasets) == 0
    assert len(bank) == 20


def test_a_bank_pickles_as_its_path_and_refuses_another_one_there(bank_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    shutil.copy(bank_path, path)
    packed = pickle.dumps(maskbank.Bank(path))
    assert len(packed) < 500
    np.testing.assert_array_equal(pickle.loads(packed)[3], maskbank.Bank(path)[3])
    maskbank.generate(path, SMALL, 20, seed=8, force=True)
    with pytest.raises(maskbank.BankError, match="now holds bank"):
        pickle.loads(packed)


def test_a_relative_path_survives_a_change_of_folder(
    bank_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bank_path.parent)
    packed = pickle.dumps(maskbank.Bank("bank.h5"))
    monkeypatch.chdir(tmp_path)
    assert len(pickle.loads(packed)) == 20


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_bank_is_read_by_other_processes(bank_path: Path, method: str) -> None:
    bank = maskbank.Bank(bank_path)
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        item = pool.submit(operator.getitem, bank, 19).result(timeout=60)
    np.testing.assert_array_equal(item, bank[19])


# what is no bank


def test_files_that_are_no_banks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    assert "cannot open" in refusal(path)
    path.write_bytes(b"")
    assert "empty" in refusal(path)
    path.write_text("hello, world\n")
    assert "not an HDF5 file" in refusal(path)
    path.write_bytes(superblock.SIGNATURE + b"\x02" + bytes(200))
    assert "damaged superblock" in refusal(path)
    with h5py.File(path, "w") as file:
        file["noise"] = np.zeros(3)
    assert "not one that maskbank made" in refusal(path)
    assert "folder" in refusal(tmp_path)


def _set(name: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        if file.attrs[name].dtype.kind == value.dtype.kind:
            file.attrs.modify(name, value)
        else:
            file.attrs[name] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_set("format", np.bytes_("otherbank")), "not one that maskbank made"),
        (_set("format_version", np.int64(2)), "newer"),
        (_set("format_version", np.int64(0)), "older"),
        (_set("numbers_version", np.int64(9)), "newer"),
        (_set("kind", np.bytes_("pink3d")), "unknown kind 'pink3d'"),
        (_set("kind", np.bytes_("red3d")), "recipe"),
        (_set("recipe", np.bytes_("{")), "JSON"),
        (_set("recipe", np.bytes_("[" * 90_000)), "JSON"),
        (_set("recipe", np.bytes_('{"size":[8,8,8]}')), "recipe"),
        (_set("seed", np.uint64(8)), "header is damaged"),
        (_set("first", np.uint64(1)), "header is damaged"),
        (_set("fingerprint", np.bytes_("0" * 12)), "header is damaged"),
        (_set("seed", np.float64(7.0)), "seed"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    damaged: Callable[..., Path], edit: Callable[[h5py.File], None], message: str
) -> None:
    assert message in refusal(damaged(edit))


def test_a_half_written_bank_is_refused(damaged: Callable[..., Path]) -> None:
    def edit(file: h5py.File) -> None:
        file["written"][3:5] = 0

    assert "2 of 20 items are missing" in refusal(damaged(edit))


# the writer


def test_a_partial_is_named_and_force_is_the_way_over_it(tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    partial = tmp_path / "bank.h5.partial"
    partial.write_bytes(b"from an earlier run")
    with pytest.raises(maskbank.OutputError, match=r"bank.h5.partial .*no bank.*force=True"):
        maskbank.generate(path, SMALL, 5)
    assert partial.read_bytes() == b"from an earlier run"
    maskbank.generate(path, SMALL, 5, force=True)
    assert len(maskbank.Bank(path)) == 5
    assert not partial.exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_partial_that_another_process_holds_is_left_alone(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "bank.h5"
    partial = tmp_path / "bank.h5.partial"
    hold = f"""if True:
        import fcntl, time
        file = open({str(partial)!r}, "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        print("held", flush=True)
        time.sleep(99)
    """
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(maskbank.OutputError, match="another process"):
            maskbank.generate(path, SMALL, 5, force=force)
        holder.kill()
    assert partial.exists()
    maskbank.generate(path, SMALL, 5, force=True)  # the lock died with its owner


def test_the_partial_is_locked_while_it_is_written(tmp_path: Path) -> None:
    content = Content(SMALL, 0, 5)
    with writer.Writer(tmp_path / "b.h5", content) as made:
        with open(made.partial) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.path.getsize(made.partial) == made.layout.size
        assert os.stat(made.partial).st_blocks * 512 >= made.layout.size - 4096  # reserved


def test_over_itself_it_does_nothing_and_over_anything_else_it_refuses(tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    assert generation.write(path, Content(SMALL, 0, 5))
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not generation.write(path, Content(SMALL, 0, 5))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    with pytest.raises(maskbank.OutputError, match=r"n 5 instead of 6, seed 0 instead of 1"):
        maskbank.generate(path, SMALL, 6, seed=1)
    with pytest.raises(maskbank.OutputError, match=r"kind green3d instead of red2d.*force=True"):
        maskbank.generate(path, Red(size=(4, 4)), 5)
    with pytest.raises(maskbank.OutputError, match=r"stretch \(1.0, 1.0, 1.0\) instead of \(2.0, 1.0, 1.0\)"):
        maskbank.generate(path, dataclasses.replace(SMALL, stretch=(2, 1, 1)), 5)
    stretched = tmp_path / "stretched.h5"
    maskbank.generate(stretched, dataclasses.replace(SMALL, stretch=(2, 1, 1)), 5)
    with pytest.raises(maskbank.OutputError, match=r"stretch \(2.0, 1.0, 1.0\) instead of \(1.0, 1.0, 1.0\)"):
        maskbank.generate(stretched, SMALL, 5)
    stretched.unlink()
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(maskbank.OutputError, match="not an HDF5 file"):
        maskbank.generate(other, SMALL, 5)
    assert other.read_text() == "mine"
    os.truncate(path, 9000)
    with pytest.raises(maskbank.OutputError, match="force=True"):
        maskbank.generate(path, SMALL, 5)
    assert generation.write(path, Content(SMALL, 0, 5), force=True)
    assert len(maskbank.Bank(path)) == 5
    assert sorted(os.listdir(tmp_path)) == ["bank.h5", "notes.txt"]


def test_a_pipe_or_device_is_not_replaced_even_by_force(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(maskbank.OutputError, match="device or a pipe"):
        maskbank.generate(path, SMALL, 5, force=True)
    with pytest.raises(maskbank.OutputError, match="device or a pipe"):
        maskbank.generate(path, SMALL, 5)
    assert "device or a pipe" in refusal(path)
    assert path.is_fifo()


def test_publishing_replaces_nothing_that_appeared_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    content = Content(SMALL, 0, 1)
    with writer.Writer(path, content) as made:
        block = noise.Block(SMALL, 1)
        noise.maker(SMALL, 0).make(0, block)
        made.write(0, block.items, block.sigmas, [zlib.crc32(block.items.data)])
        path.write_text("mine")
        with pytest.raises(maskbank.OutputError, match="appeared"):
            made.publish()
    assert path.read_text() == "mine"
    assert len(maskbank.Bank(f"{path}.partial")) == 1  # whole, under its own name


def test_where_there_are_no_hard_links_renaming_still_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    maskbank.generate(tmp_path / "b.h5", SMALL, 3)
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    new.write_text("new")
    with pytest.raises(FileExistsError):
        files.rename_new(str(old), str(new))
    assert new.read_text() == "new"


def test_a_disk_that_refuses_direct_writes_is_written_the_other_way(
    bank_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    refused = 0

    def picky(fd: int, data: Any, offset: int) -> int:
        nonlocal refused
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
            refused += 1
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", picky)
    path = tmp_path / "b.h5"
    maskbank.generate(path, SMALL, 20, seed=7)
    assert path.read_bytes() == bank_path.read_bytes()
    assert refused


def test_a_disk_too_small_is_reported_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def nearly_full(path: str) -> Any:
        found = list(real(path))
        found[4] = 3  # free blocks
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", nearly_full)
    with pytest.raises(maskbank.OutputError, match=r"needs [\d,]+ bytes, [\d,]+ are free"):
        maskbank.generate(tmp_path / "b.h5", SMALL, 5000)
    assert not os.listdir(tmp_path)


def test_a_disk_that_fills_up_while_space_is_reserved_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer, "allocate", full)
    with pytest.raises(maskbank.OutputError, match="too full"):
        maskbank.generate(tmp_path / "b.h5", SMALL, 50)
    assert not os.listdir(tmp_path)


def test_progress_counts_up_to_n(tmp_path: Path) -> None:
    seen: list[int] = []
    maskbank.generate(tmp_path / "b.h5", SMALL, 3000, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 3000


def test_every_version_of_hdf5_writes_the_same_header() -> None:
    """Frozen as h5py 3.11 to 3.16 write it. With other bytes, the same bank would be another file."""
    made, pieces = layout.lay_out(Content(SMALL, 7, 20))
    assert made.offsets == {"crc32": 12288, "written": 20480, "sigma": 28672, "noise": 36864}
    digest = hashlib.sha256(b"".join(data for _, data in pieces)).hexdigest()
    assert digest == "e7349959f19f375de137e630974fc2eeb42c573140259f6e830f349446baf0ef"
