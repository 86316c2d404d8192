"""docs/experiments.md: renewed in one step, from the queue and the scripts."""


def test_the_page_is_renewed(fresh):
    page = fresh.root / "docs" / "experiments.md"
    page.parent.mkdir()
    page.write_text("old\n")
    (fresh.root / "the old one").hardlink_to(page)
    assert fresh.make("docs").returncode == 0
    assert (fresh.root / "the old one").read_text() == "old\n"  # another took its place
    text = page.read_text()
    assert text.startswith("# Experiments") and "\nold" not in text
    assert "## `make phase1` · First things" in text
    assert "| P1-01 | Looks at what was trained | `scripts/11_look.py` |" in text
    assert "| P2-01 | Not there (not built yet) |" in text
