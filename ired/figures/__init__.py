"""How results look: records and tables in, matplotlib figures out. Nothing is computed here."""
