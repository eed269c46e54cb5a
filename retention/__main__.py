"""`python -m retention` is the same program as `retention`."""

from retention.cli.main import main

if __name__ == "__main__":
    main()
