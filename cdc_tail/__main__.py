"""`python -m cdc_tail` is the command line."""

from cdc_tail.cli.app import main

if __name__ == "__main__":
    main()
