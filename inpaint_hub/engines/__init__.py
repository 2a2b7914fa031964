"""The fast forms of the networks: the same functions, arranged for speed, without gradients.

What each network is, is said where it is defined; a form here is compared with it by tests.

| file | what it is |
| --- | --- |
| precision | the dtype that a device computes in quickest |
| up_convolution | one convolution of the generator, and the ways to double a resolution with it |
| synthesis, encoder, inpainter | the forms of the kinds of networks |
| openvino | a form converted for CPUs, cached on disk |
| install | which network of a pipeline gets which form, run by which engine |
"""

from inpaint_hub.engines.install import install

__all__ = ["install"]
