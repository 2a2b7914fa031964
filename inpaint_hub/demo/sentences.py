"""What the page says, as HTML; errors become sentences here, and nowhere else."""

import html
import inspect
import sys
import traceback
from collections.abc import Callable
from functools import wraps

from inpaint_hub.demo.photos import Refusal


def status(text: object, kind: str = "") -> str:
    """What the page says now; kind: "", "run" or "error"."""
    role = "alert" if kind == "error" else "status"
    text = html.escape(str(text)).replace("\n", "<br>")
    return f'<p class="ih-status ih-{kind or "plain"}" role="{role}">{text}</p>'


def draft_sentence(text: str) -> str:
    """What the page says of the draft on show; the line keeps its place without one."""
    return f'<p role="status">{html.escape(text)}</p>'


NO_DRAFT = draft_sentence("")


def said(error: Exception) -> str:
    """An error as a sentence; what nobody foresaw is logged, too."""
    if isinstance(error, Refusal):
        return str(error)
    traceback.print_exception(error, file=sys.stderr)
    text = str(error).splitlines()[0][:200] if str(error) else ""
    return (
        f"That did not work ({type(error).__name__}: {text}). Your photo and mask are still here."
    )


def telling(place: str, **afterwards: object) -> Callable:
    """A handler, of an object with `parts`, whose errors become a sentence in the part of that
    name; all other parts stay as they are but those in `afterwards`, {name: value}."""

    def decorate(function: Callable) -> Callable:
        def told(self: object, error: Exception) -> dict:
            answer = {getattr(self.parts, place): status(said(error), "error")}
            return answer | {getattr(self.parts, part): v for part, v in afterwards.items()}

        if inspect.isgeneratorfunction(function):

            @wraps(function)
            def run(self: object, *arguments: object, **options: object) -> object:
                try:
                    yield from function(self, *arguments, **options)
                except Exception as error:
                    yield told(self, error)
        else:

            @wraps(function)
            def run(self: object, *arguments: object, **options: object) -> object:
                try:
                    return function(self, *arguments, **options)
                except Exception as error:
                    return told(self, error)

        return run

    return decorate
