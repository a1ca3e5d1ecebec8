"""Opens files from anyone in every way, in a separate process with little memory."""

import contextlib
import io
import json
import os
import traceback
from pathlib import Path
from typing import Any

import maskbank
from maskbank.bank import layout
from maskbank.cli import main


def look(path: str) -> str:
    """The answer of every way to open a bank: "whole", "damaged: ...", or "refused: ...".

    Anything else, an exception that is not ours or an answer of more than one line, is an AssertionError.
    """
    said = [_say(lambda: maskbank.Bank(path)), _say(lambda: layout.read(path))]
    for command in ("verify", "inspect"):
        said.append(command_line(command, path))
    header, opened = said[1] == "", said[0] == ""
    assert (said[3] == "") == opened, said
    if not header:
        assert said[0], said
        assert said[2], said
        return f"refused: {said[1]}"
    return f"damaged: {said[2]}" if said[2] else ("whole" if opened else f"half-written: {said[0]}")


def command_line(*args: str) -> str:
    """A command's error message, or nothing."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(args))
        except SystemExit as end:
            code = end.code
    assert code in (0, 1), err.getvalue()
    if code == 0:
        return ""
    lines = [line for line in err.getvalue().splitlines() if "compiling kernels" not in line]
    assert len(lines) == 1, lines
    assert len(lines[0]) < 1000, lines[0][:1000]
    return lines[0]


def _say(call: Any) -> str:
    try:
        call()
    except maskbank.BankError as error:
        text = str(error)
        assert text
        assert "\n" not in text
        return text
    return ""


def look_at(paths: list[str]) -> list[str]:
    """`look` at each file. Returns the errors."""
    answers = []
    for path in paths:
        try:
            answers.append(look(path))
        except (Exception, AssertionError):
            answers.append("WRONG " + traceback.format_exc()[-1500:])
    return answers


def mutate(original: str, folder: str, changes: list[list[list[int]]], progress: str) -> list[str]:
    """Look at copies of a bank with some bytes changed: [[offset, byte], ...], or cut at [-1, size]."""
    content = Path(original).read_bytes()
    expected = maskbank.Bank(original)
    answers = []
    path = os.path.join(folder, "mutated.h5")
    with open(progress, "w") as log:
        for change in changes:
            log.seek(0)
            log.write(json.dumps(change) + " " * 99)
            log.flush()
            mutated = bytearray(content)
            for offset, byte in change:
                if offset < 0:
                    mutated = mutated[:byte].ljust(byte, b"\0")
                else:
                    mutated[offset] = byte
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            Path(path).write_bytes(mutated)
            try:
                layout.read(path)
            except maskbank.BankError as error:  # as the other ways do; `look` checks that elsewhere
                answers.append(f"refused: {error}")
                continue
            except (Exception, AssertionError):
                answers.append("WRONG " + traceback.format_exc()[-1500:])
                continue
            answer = look_at([path])[0]
            if not answer.startswith(("refused", "WRONG")):
                found = layout.read(path)
                if found != layout.read(original):
                    answer = f"WRONG: opened as {found}"
                elif answer == "whole":
                    bank = maskbank.Bank(path)
                    if bank[:].tobytes() != expected[:].tobytes():
                        answer = "WRONG: whole, with other contents"
            answers.append(answer)
    return answers


def repair_mutants(original: str, folder: str, changes: list[list[list[int]]]) -> list[str]:
    """Repair each mutant that can be opened: "repaired" where it became the original, or the message."""
    content = Path(original).read_bytes()
    path = os.path.join(folder, "mutated.h5")
    answers = []
    for change in changes:
        mutated = bytearray(content)
        for offset, byte in change:
            mutated[offset] = byte
        Path(path).write_bytes(mutated)
        try:
            layout.read(path)
        except maskbank.BankError:
            answers.append("refused")
            continue
        said = command_line("repair", path)
        answers.append("repaired" if Path(path).read_bytes() == content else f"WRONG {said}")
    return answers
