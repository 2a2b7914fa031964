"""The demo: paint over a part of a photo, get it filled, in the browser or by its API.

python app.py          inpaint-hub demo

launch      flags, the server, and what runs before it answers
page        which event calls which handler; layout: what stands where; page.css, names.js
opening     handlers: photos and masks come in; rounds: fill, drafts, back and on; beyond: the rest
sentences   what the page says; errors become sentences
editor.*    the photo and the mask painted over it: html and js of one component, and its messages
endpoints   the same for programs: named endpoints, MCP tools
photos      a visitor's files: read, shown reduced, written exactly; tidying: when they go
filling     one request: settings checked, the pipeline called, results described
comparison  the same hole by several methods; where several fills disagree
outside     borders; batch: many photos; examples; models: which pipeline
"""

from importlib import import_module

_HOMES = {"build_demo": "page", "main": "launch", "Models": "models"}
__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
