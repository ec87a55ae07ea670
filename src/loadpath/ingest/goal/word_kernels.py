"""Compiled steps through GOAL text: blanks, words, numbers, comments."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = [
    "NEWLINE",
    "SPACE",
    "TAB",
    "after_blank",
    "after_comment",
    "after_word",
    "begins",
    "is_letter",
    "is_word",
    "number_at",
]

NEWLINE, TAB, SPACE, SLASH, STAR, UNDERSCORE = (ord(c) for c in "\n\t /*_")
LARGEST = (1 << 62) - 1
"""Whole numbers beyond are refused: no job is that long, or moves as many bytes."""


@kernel(inline=True)
def is_letter(c: Any) -> Any:
    """Whether a character is a letter of ASCII."""
    return (c >= 97 and c <= 122) or (c >= 65 and c <= 90)


@kernel(inline=True)
def _is_digit(c: Any) -> Any:
    return c >= 48 and c <= 57


@kernel
def after_blank(text: Any, i: int) -> Any:
    """Skip spaces and tabs; the text ends with a newline."""
    while text[i] == SPACE or text[i] == TAB:
        i += 1
    return i


@kernel
def after_word(text: Any, i: int) -> Any:
    """Skip letters, digits and underscores."""
    while is_letter(text[i]) or _is_digit(text[i]) or text[i] == UNDERSCORE:
        i += 1
    return i


@kernel
def is_word(text: Any, i: int, end: int, word: Any) -> Any:
    """Whether what stands here up to `end` is this word."""
    if end - i != word.size:
        return False
    same = True
    for k in range(word.size):
        same &= text[i + k] == word[k]
    return same


@kernel
def begins(text: Any, i: int, word: Any) -> Any:
    """Whether a keyword stands here; what follows it may be a number without a space."""
    same = True
    for k in range(word.size):
        same &= text[i + k] == word[k]
    return same


@kernel
def number_at(text: Any, i: int) -> Any:
    """Read a whole number: value and where it ends, -1 if there is none, -2 if it is too large."""
    if not _is_digit(text[i]):
        return 0, -1
    value = np.int64(0)
    while _is_digit(text[i]):
        digit = np.int64(text[i]) - 48
        if value > (LARGEST - digit) // 10:
            return 0, -2
        value = value * 10 + digit
        i += 1
    return value, i


@kernel
def after_comment(text: Any, i: int) -> Any:
    """Skip a comment: where it ends and how many lines it spans; -1 if it never ends, -2 if none."""
    if text[i] != SLASH:
        return -2, 0
    if text[i + 1] == SLASH:
        while text[i] != NEWLINE:
            i += 1
        return i, 0
    if text[i + 1] != STAR:
        return -2, 0
    i += 2
    lines = 0
    while i + 1 < text.size:
        if text[i] == STAR and text[i + 1] == SLASH:
            return i + 2, lines
        lines += text[i] == NEWLINE
        i += 1
    return -1, lines
