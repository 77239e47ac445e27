"""`python -m aigateway`."""

from aigateway.cli import main

if __name__ == "__main__":
    main(prog_name="aigateway")
