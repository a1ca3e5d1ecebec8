"""The same bytes everywhere: from release to release, in any order, on any processor, without a compiler."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from maskbank import noise
from maskbank.recipes import COLOURS, Recipe
from tests.conftest import printed_by
from tests.golden import make

GOLDEN: dict[str, str] = json.loads(make.FILE.read_text())

# Both ways of filtering, white noise, and scratch that is larger than what one item needs
SHAPES: list[tuple[str, str, tuple[int, ...]]] = [
    ("green3d", "wrap", (2, 8, 4)),
    ("purple2d", "wrap", (64, 64)),
    ("green3d", "wrap", (8, 14, 14)),
    ("purple3d", "reflect", (4, 5, 6)),
    ("blue2d", "reflect", (9, 21)),
    ("white3d", "wrap", (5, 50, 41)),
    ("purple1d", "wrap", (130,)),
]


def recipe_of(kind: str, boundary: str, size: tuple[int, ...]) -> Recipe:
    return COLOURS[kind][0](size=size, dtype="float32", boundary=boundary)


def check_elsewhere(names: list[str], *python: str, **variables: str) -> None:
    """A process of its own, with these options and environment variables, makes the golden checksums."""
    printed = printed_by(*python, "-m", "tests.golden.make", *names, **variables)
    assert json.loads(printed) == {name: GOLDEN[name] for name in names}


def test_golden_file_holds_every_case() -> None:
    """No case is left out, none is stale."""
    assert list(GOLDEN) == list(make.CASES)


def test_golden_file_is_never_overwritten() -> None:
    """Other numbers are made on purpose or not at all."""
    before = make.FILE.read_bytes()
    with pytest.raises(FileExistsError):
        make.main([])
    assert make.FILE.read_bytes() == before


@pytest.mark.parametrize("name", make.CASES)
def test_golden(name: str) -> None:
    """An item is, to the last bit, what it has been since it was first released."""
    assert make.checksum(name) == GOLDEN[name]


@pytest.mark.parametrize("kind, boundary, size", SHAPES, ids=str)
def test_items_do_not_depend_on_order_or_blocks(kind: str, boundary: str, size: tuple[int, ...]) -> None:
    """One at a time, as blocks of any length, backwards, after other items in the same scratch memory."""
    recipe = recipe_of(kind, boundary, size)
    first, count = 2**32 - 4, 9  # over the edge of the index's low word
    singly = [noise.item(recipe, 3, first + i).tobytes() for i in range(count)]
    assert len(set(singly)) == count

    whole = noise.Block(recipe, count)
    noise.maker(recipe, 3).make(first, whole)
    assert [item.tobytes() for item in whole.items] == singly

    maker = noise.maker(recipe, 3)
    parts = noise.Block(recipe, count)
    for start, stop in ((5, 9), (1, 2), (0, 1), (2, 5)):
        maker.make(first + start, parts.part(start, stop))
    assert parts.items.tobytes() == whole.items.tobytes()
    assert parts.sigmas.tobytes() == whole.sigmas.tobytes()

    one = noise.Block(recipe, 1)
    for i in reversed(range(count)):
        one.items.fill(np.nan)
        maker.make(first + i, one)
        assert one.items[0].tobytes() == singly[i]


@pytest.mark.parametrize("kind, boundary, size", SHAPES, ids=str)
def test_items_do_not_depend_on_threads(kind: str, boundary: str, size: tuple[int, ...]) -> None:
    """Kernels run without the GIL and share nothing: many at once make what one makes."""
    recipe = recipe_of(kind, boundary, size)

    def one(index: int) -> bytes:
        return noise.item(recipe, 8, index).tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(16))) == [one(index) for index in range(16)]


def test_fresh_process_makes_the_same_bytes() -> None:
    """With kernels from the compiler's cache, as users run them."""
    names = [name for name in make.CASES if "float32" in name or name.startswith("rbn-64x8-")]
    check_elsewhere(names)


@pytest.mark.full
def test_generic_processor_makes_the_same_bytes(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """Compiled for a processor without FMA, AVX or AVX-512, with NumPy's dispatch turned down as far.

    The compiler's cache, whose name is a hash of all kernels, outlives the run: compiling takes a while.
    """
    names = [name for name in make.CASES if "-64x64x64-" in name or "-8x14x14-float16" in name]
    names += ["white3d-8x14x14-uint8-wrap", "green2d-9x21-float16-wrap"]
    names += [name for name in make.CASES if "1d-500-float16" in name]
    names += [name for name in make.CASES if name.startswith("rbn-")]
    kept: pytest.Cache | None = getattr(pytestconfig, "cache", None)  # with -p no:cacheprovider there is none
    cache = kept.mkdir("generic") if kept else tmp_path
    umath = vars(np)["_core"]._multiarray_umath
    dispatched = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    variables = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(cache)}
    if dispatched:
        variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(dispatched)
    check_elsewhere(names, **variables)


@pytest.mark.parametrize("all_levels", [False, pytest.param(True, marks=pytest.mark.full)])
def test_plain_python_makes_the_same_bytes(all_levels: bool) -> None:
    """Without the compiler, kernels are NumPy scalars and the twins of what is written in LLVM IR.

    The tables of uint8 take a second each, so the plain suite makes one item with them.
    """
    names = [
        *(
            name
            for name in make.CASES
            if ("-4x5x6-" in name or "-8x8-" in name) and (all_levels or "uint8" not in name)
        ),
        "green3d-4x5x6-uint8-reflect",
        *(name for name in make.CASES if "-2x8x4-" in name),
        "green2d-64x64-float16-wrap",
        "green1d-33-float16-reflect",
    ]
    plain = {"NUMBA_DISABLE_JIT": "1", "NPY_PROMOTION_STATE": "weak"}  # NumPy 1 promotes as NumPy 2 does
    # unsigned NumPy scalars warn where they wrap around, as they are meant to
    check_elsewhere(names, "-W", "ignore", **plain)
