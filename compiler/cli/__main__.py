"""`python -m compiler.cli` is the program `joulec`."""

from compiler.cli.main import main

if __name__ == "__main__":
    main()
