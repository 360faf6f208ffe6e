"""Makes readable forms of a plan: tables, texts, comparisons."""
