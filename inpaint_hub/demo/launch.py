"""The demo's flags and server."""

import argparse
import os
import sys
import threading
from pathlib import Path

import gradio as gr
import torch

from inpaint_hub.demo.models import Models, Part, bundled_models
from inpaint_hub.demo.page import CSS, build_demo
from inpaint_hub.demo.tidying import tidied

MAX_UPLOAD = "80mb"  # a 48 megapixel JPEG has 15 to 30


def build_parser():
    parser = argparse.ArgumentParser(
        prog="inpaint-hub demo", description="The inpainting demo, in the browser."
    )
    parser.add_argument(
        "--model", help="folder or Hub id of a pipeline, instead of the bundled ones by default"
    )
    parser.add_argument(
        "--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, mps"
    )
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on; 0.0.0.0 for all, as in a container (default: 127.0.0.1, or "
        "GRADIO_SERVER_NAME)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("GRADIO_SERVER_PORT"),
        help="default: the first free one from 7860 on, or GRADIO_SERVER_PORT",
    )
    parser.add_argument(
        "--share", action="store_true", help="a public link, through gradio's relay"
    )
    parser.add_argument("--mcp", action="store_true", help="an MCP server, too: pip install .[mcp]")
    parser.add_argument("--browser", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--no_hub", action="store_true", help="visitors cannot name models of the Hub"
    )
    return parser


def device_of(name):
    """torch's name of the device.

    Raises: ValueError for a device that is not there, with what is.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.split(":")[0]
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(kind):
        found = ", ".join(known for known, is_there in there.items() if is_there)
        raise ValueError(
            f"--device {name} is not to be had here (torch {torch.__version__} finds: {found}); "
            "give one of these, or leave the flag out"
        )
    return name


def has_mcp():
    try:
        import mcp  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def models_of(arguments, device):
    """Models: those that are bundled, after the one that was asked for."""
    given = arguments.model  # a folder's name is shown, not where it lies
    sources = {Path(given).name if Path(given).is_dir() else given: given} if given else {}
    try:
        bundled = bundled_models()
    except FileNotFoundError:
        if not sources:
            raise
        bundled = {}
    if sources:  # parts are parts of the default
        bundled = {name: source for name, source in bundled.items() if not isinstance(source, Part)}
    sources |= bundled
    return Models(sources, device, "eager", from_hub=not arguments.no_hub)


def main(argv=None):
    """Start the demo; exit status 2 for flags that cannot be."""
    # Else gradio keeps 10,000 requests for its statistics, summed up anew after each of them.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.mcp and not has_mcp():
        parser.error('--mcp needs a package more: pip install "gradio[mcp]"')
    try:
        models = models_of(arguments, device_of(arguments.device))
        models.get()  # what cannot be loaded is said here, not at the first visit
    except (FileNotFoundError, ValueError, RuntimeError, TypeError) as error:
        parser.error(str(error))
    demo = build_demo(models)
    threading.Thread(target=demo.shelf.warm_up, daemon=True).start()
    try:
        demo.launch(**launch_options(arguments))
    except OSError as error:
        sys.exit(
            f"The demo cannot listen on {arguments.host}:{arguments.port or '7860...'}: {error}"
        )


def launch_options(arguments):
    """Keyword arguments of gradio's launch."""
    return {
        "server_name": arguments.host,
        "server_port": arguments.port and int(arguments.port),
        "share": arguments.share,
        "inbrowser": arguments.browser,
        "mcp_server": arguments.mcp or None,
        **always(),
    }


def always():
    """Keyword arguments of every launch of the page."""
    # A new dict each time: gradio puts its own lifespan into it.
    return {**LOOK, "app_kwargs": {"lifespan": tidied}}


LOOK = {
    # The system's own fonts: nothing is fetched from anywhere.
    "theme": gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(  # contrasts of at least 4.5
        body_background_fill="*neutral_100",  # what lies on it stands out, as in the dark
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*primary_800",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_padding="0",
        block_title_text_weight="600",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        input_placeholder_color="*neutral_500",
    ),
    "css": CSS,
    "max_file_size": MAX_UPLOAD,
    "show_error": True,
    # Gradio gives its own page 3 seconds to answer, and fails on machines that are busy.
    "_frontend": False,
}
