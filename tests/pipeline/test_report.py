"""`make report` on a finished store, and on one where something is missing."""

from ired.report.page import dead_links
from tiny_store import client_of, run, runs, runs_of


def report(folder, *words):
    """`make report` in a copy of the project: how it ended, and the page."""
    done = run(folder, "ired.report.build", *words)
    page = folder / "mlruns/report-tiny-seed0-none.html"
    return done, page.read_text() if page.exists() else ""


def test_the_report_shows_everything_and_opens_in_a_browser(copy, browser):
    done, html = report(copy)
    assert done.returncode == 0 and "39 of 39 experiments" in done.stdout, done.stderr
    assert dead_links(html) == []
    client = client_of(copy)
    pictures = [
        f
        for r in runs(copy)
        if r.data.tags["exp_id"] != "P7-05"
        for f in client.list_artifacts(r.info.run_id, "figures")
        if f.path.endswith(".png")
    ]
    page = browser.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto((copy / "mlruns/report-tiny-seed0-none.html").as_uri())
    sizes = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert len(sizes) == len(pictures) + 3 and all(sizes) and said == []
    page.close()


def test_the_report_names_what_is_missing_and_passes_none_of_it(copy):
    [gone] = runs_of(copy, "P3-05")
    client_of(copy).delete_run(gone.info.run_id)
    done, html = report(copy)
    assert done.returncode == 0 and "missing: P3-05" in done.stdout, done.stderr
    assert "make P3-05 PROFILE=tiny" in html and gone.info.run_id not in html
    assert "✗ not reached" in html and dead_links(html) == []
    done = run(copy, "scripts/75_synthesis.py", "--force")
    assert done.returncode == 2 and "P3-05" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    done, _ = report(copy, "--profile", "small")
    assert done.returncode == 2 and "nothing has been run" in done.stderr
