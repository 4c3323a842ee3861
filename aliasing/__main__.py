"""``python -m aliasing`` is the command ``aliasing``."""

from aliasing.start import main

if __name__ == "__main__":
    raise SystemExit(main())
