"""`python -m ssvid`, and so `torchrun -m ssvid`."""

from ssvid.cli import main

if __name__ == "__main__":
    main()
