"""What is made of a plan for readers: tables, texts, comparisons."""
