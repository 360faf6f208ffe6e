"""The passes: Graph to Graph. They know the core and never a backend. Internal; use `joulec`."""
