"""What is told: claims, how sure one may be of them, recommendations, and the page.

build.py                     The page that says what was learned and how sure we are: `make report`, `make findings`
claims/                      What this project puts to the test, by phase
confidence.py                Claims, and how sure of them one may be: a rule on what experiments logged
controls_table.py            What experiments measured on the model and on its controls, side by side
figures.py                   Figures of P7-05: which negatives for which goal, all claims at once
findings.py                  The findings as a page of the documentation: Markdown with a few small pictures
page.py                      The page of the synthesis: what was learned and how sure one may be
published.py                 Figures that others have published, and how the results of this store compare with them
recommendation.py            Which negatives to train with, for which goal: a rule on P7-04's table
recommendation_sentences.py  What follows from advice on negatives, in sentences: recommendations
summary_page.py              One-page HTML summaries that open from disk: text, a table, a picture
synthesis.py                 What all experiments logged, gathered and judged
"""
