"""Train any of the methods: `accelerate launch train_accelerate.py --help`."""

from inpaint_hub.training.__main__ import main

if __name__ == "__main__":
    main()
