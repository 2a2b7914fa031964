"""What visits and requests leave behind goes by itself: files, and gradio's notes of sessions."""

import asyncio
import shutil
import time
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

VISIT_SECONDS = 3600  # without a sign of life, then a visit's files go
SESSION_SECONDS = 30  # so long a session without a visit is kept: a program's, or a closed page's
ROUND_SECONDS = 20  # between two looks
CACHE = (60, 900)  # gradio's: how often it looks at its files, and how old they get, in seconds


@asynccontextmanager
async def tidied(app):
    """The server's lifespan, with a task that tidies up; app: gradio's."""
    task = asyncio.create_task(keep_tidy(app))
    try:
        yield
    finally:
        task.cancel()


async def keep_tidy(app):
    while True:
        await asyncio.sleep(ROUND_SECONDS)
        with suppress(OSError):
            await asyncio.to_thread(forget_old, app.get_blocks().visits, VISIT_SECONDS)
        forget_sessions(app.state_holder, SESSION_SECONDS)  # here, where gradio changes them


def forget_old(root, seconds, now=None):
    """Delete the visits' folders in which nothing was written for so long; now: Unix time."""
    now = time.time() if now is None else now
    for folder in Path(root).iterdir():
        try:
            newest = max((p.stat().st_mtime for p in (folder, *folder.rglob("*"))), default=0)
        except OSError:
            continue
        if now - newest > seconds:
            shutil.rmtree(folder, ignore_errors=True)


def forget_sessions(holder, seconds, now=None):
    """Drop the sessions that hold no visit and were not used for so long.

    Gradio keeps a copy of the whole page's settings (0.2 MB) for each session, the last 10,000 of
    them, and every request of a program is one. holder: gradio's StateHolder; now: datetime.
    """
    now = datetime.now() if now is None else now
    for name, last_used in list(holder.time_last_used.items()):
        state = holder.session_data.get(name)
        if state is not None and any(value is not None for value in state.state_data.values()):
            continue
        if now - last_used > timedelta(seconds=seconds):
            with holder.lock:
                holder.session_data.pop(name, None)
                holder.time_last_used.pop(name, None)
