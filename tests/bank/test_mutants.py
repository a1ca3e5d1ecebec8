"""Banks with wrong bytes: refused, found damaged, or read exactly."""

import collections
import random
from pathlib import Path

from maskbank.bank import layout, superblock
from maskbank.bank.layout import Content
from tests.bank.forgery import (
    MEMORY,
    RECIPE,
    N,
    fix_checksums,
    header_places,
    look,
    lookup3,
    original,
    place_of,
)
from tests.bank.processes import Ended, Warm
from tests.conftest import Share

__all__ = ["original"]


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
    """n = 2^60 and other numbers of items, with headers that are consistent or not."""
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
        # a change of one number may have no effect: that of the size to which a table could grow, for example
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
    """The answers to mutated banks, some at a time in each process."""
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
    """Changes single bytes before the first table, and counts the outcomes."""
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
    """Flips, overwritten stretches, cuts, spliced pieces, anywhere: verify never accepts a wrong item."""
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


def test_the_checksum_of_superblocks_is_that_of_all_metadata() -> None:
    random_ = random.Random(15)
    for _ in range(100):
        data = random_.randbytes(44)
        assert superblock.lookup3(data) == lookup3(data)
