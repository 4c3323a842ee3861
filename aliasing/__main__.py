"""``python -m aliasing`` is the command ``aliasing``."""

from aliasing.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
