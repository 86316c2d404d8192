"""The table in README.md: renewed as a whole, or README stays as it was."""

import pytest
from ired.lab import readme_table

README = f"Before\n\n{readme_table.BEGIN}\nold\n{readme_table.END}\n\nAfter\n"


def test_the_table_is_renewed(fresh):
    readme = fresh.root / "README.md"
    readme.write_text(README)
    (fresh.root / "the old one").hardlink_to(readme)
    assert fresh.make("readme").returncode == 0
    assert (fresh.root / "the old one").read_text() == README  # another took its place, in one step
    text = readme.read_text()
    assert text.startswith("Before\n\n") and text.endswith(f"{readme_table.END}\n\nAfter\n")
    assert "| P1-01 | Looks at what was trained | `scripts/11_look.py` |" in text and "\nold" not in text


@pytest.mark.parametrize("mark", [readme_table.BEGIN, readme_table.END])
def test_a_mark_that_is_damaged_is_one_line(fresh, mark):
    (fresh.root / "README.md").write_text(README.replace(mark, "<!-- -->"))
    done = fresh.make("readme")
    assert f"README.md lacks the line '{mark}'" in done.stderr and "Traceback" not in done.stderr
    assert done.returncode == 2 and "After" in (fresh.root / "README.md").read_text()
