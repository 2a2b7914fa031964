"""The demo, in the browser, on the bundled weights: python app.py --help

Named endpoints: /inpaint_image_and_mask (two pictures), /inpaint (an editor's value), /outpaint.
"""

import inpaint_hub.demo.zero_gpu  # noqa: F401  (before CUDA is used: see there)
from inpaint_hub.demo import main

if __name__ == "__main__":
    main()
