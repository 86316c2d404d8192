"""One-page HTML summaries that open from disk: text, a table, a picture, nothing from outside."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 0.4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.6rem; border-bottom: 1px solid #8885; }
td.met::before { content: "✓ "; color: #029e73; }
td.not::before { content: "✗ "; color: #d55e00; }
code { font-size: 0.85em; }
img { width: 100%; height: auto; background: white; border-radius: 6px; }
@media print { body { max-width: none; margin: 0; } }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ lead }}</p>
{% for name, text in sections %}<h2>{{ name }}</h2>
<p>{{ text }}</p>
{% endfor %}<h2>Criteria, fixed before the results were seen</h2>
<div class="scroll"><table>
<thead><tr><th>experiment</th><th>criterion</th><th>met</th><th>what was asked</th><th>numbers</th></tr></thead>
<tbody>
{% for row in rows %}<tr><td>{{ row.experiment }}</td><td>{{ row.name }}</td>
<td class="{{ 'met' if row.met else 'not' }}">{{ "yes" if row.met else "no" }}</td>
<td>{{ row.asked }}</td><td>{{ row.numbers }}</td></tr>
{% endfor %}</tbody></table></div>
<h2>Where the numbers come from</h2>
<div class="scroll"><table>
<thead><tr><th>experiment</th><th>headline</th><th>MLflow run</th></tr></thead>
<tbody>
{% for name, headline, run in sources %}<tr><td>{{ name }}</td><td>{{ headline }}</td><td><code>{{ run }}</code></td></tr>
{% endfor %}</tbody></table></div>
<p><img alt="{{ alt }}" src="data:image/png;base64,{{ picture }}"></p>
</body>
</html>
"""


def summary_page(
    title: str,
    lead: str,
    sections: Sequence[tuple[str, str]],
    rows: Sequence[Mapping],
    sources: Sequence[tuple[str, str, str]],
    picture: Figure,
    alt: str,
) -> str:
    """rows: mappings with experiment, name, met, asked, numbers; sources: (experiment, headline, run)."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=110)
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_PAGE).render(
        title=title,
        lead=lead,
        sections=sections,
        rows=rows,
        sources=sources,
        alt=alt,
        picture=base64.b64encode(buffer.getvalue()).decode(),
    )
