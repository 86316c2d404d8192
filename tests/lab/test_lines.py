"""Lines that fit a terminal; whoever reads a pipe gets them as they are."""

import io

import pytest

from ired.lab.lines import cut, terminal_width, wrapped

TEXT = "P1-04 tiny seed 0: minima per problem, k=0 1 [1, 1]; 2 of 4 criteria met (not: bottom_at_the_answer)"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("wide", [50, 80])
def test_a_terminal_gets_whole_words(monkeypatch, wide):
    assert terminal_width() is None and wrapped(TEXT) == TEXT
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(wide))
    lines = wrapped(TEXT, "    ").splitlines()
    assert terminal_width() == wide and len(lines) > 1
    assert all(len(line) <= wide for line in lines) and all(line.startswith("    ") for line in lines[1:])
    assert " ".join(line.strip() for line in lines) == TEXT
    address = "sqlite:////" + "long/" * 30
    assert address in wrapped(f"the store {address} is there"), "to be copied in one piece"


def test_what_is_cut_says_so():
    assert cut("a long title", 12) == cut("a long title", None) == "a long title"
    assert cut("a long title", 8) == "a long…" and len(cut(TEXT, 80)) <= 80
