"""The demo with many clients, and with some who hang up; what they leave behind, by the clock."""

import os
import threading
import time
from datetime import datetime, timedelta

import numpy as np
import pytest
from demo_page import Recorded, served, tiny_pipeline
from gradio import route_utils

from benchmarks import demo_load
from benchmarks.demo_load import (
    begin,
    finish,
    limited,
    listening,
    one_request,
    png,
    run_clients,
    upload,
)
from inpaint_hub.demo.photos import Visit
from inpaint_hub.demo.tidying import CACHE, VISIT_SECONDS, forget_old, forget_sessions

REQUESTS = 12


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))  # also asked at each upload
        from inpaint_hub.demo import launch, page

        demo = page.build_demo(tiny_pipeline())
        launched = demo.launch(
            server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch.always()
        )
        demo.address, demo.cache = launched[1].rstrip("/"), cache
        yield demo
        demo.close()


def test_each_of_several_clients_gets_its_own_picture(demo, monkeypatch):
    monkeypatch.setattr(demo_load, "LEAVING", 4)  # one of so many requests
    counts, waits = run_clients(demo.address, 4, limited(REQUESTS))
    assert counts["left"] > 0
    assert counts["right"] == len(waits) == REQUESTS - counts["left"]
    assert set(counts) == {"right", "left", "never answered"} and counts["never answered"] == 0


def test_a_client_that_hangs_up_frees_its_place_in_the_queue(demo):
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(3)]
    hole = np.zeros((20, 30), np.uint8)
    hole[5:15, 5:20] = 255
    files = [
        (upload(demo.address, png(p), "a.png"), upload(demo.address, png(hole), "mask.png"))
        for p in photos
    ]
    before, urls = len(Recorded.calls), []
    with Recorded.held() as release:
        first, gone, last = (begin(demo.address, *pair) for pair in files)
        Recorded.wait_until_held()  # the first one holds the only slot
        queue = demo._queue.event_queue_per_concurrency_id["model"].queue
        with listening(demo.address, gone):
            assert gone in [event._id for event in queue]
        wait_for(lambda: gone not in [event._id for event in queue])

        def listen(number):
            with listening(demo.address, number) as stream:
                urls.append(finish(stream))

        threads = [threading.Thread(target=listen, args=(n,)) for n in (first, last)]
        for thread in threads:
            thread.start()
        release()
        for thread in threads:
            thread.join()
    assert len(urls) == 2
    filled = [np.asarray(image) for image, *_ in Recorded.calls[before:]]
    assert np.array_equal(filled, [photos[0], photos[2]])  # nothing was done for who had left


def test_a_client_that_hangs_up_in_the_middle_holds_up_nobody(demo):
    with Recorded.held() as release:
        pixels = np.zeros((20, 30, 3), np.uint8)
        mask = np.full((20, 30), 255, np.uint8)
        files = upload(demo.address, png(pixels), "b.png"), upload(demo.address, png(mask), "m.png")
        with listening(demo.address, begin(demo.address, *files)):
            Recorded.wait_until_held()
        release()
    assert one_request(demo.address, 0, np.random.default_rng(1), False) == "right"


def wait_for(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_files_of_requests_are_gone_in_minutes(demo, monkeypatch):
    assert one_request(demo.address, 0, np.random.default_rng(2), False) == "right"
    files = lambda: [path for path in demo.cache.rglob("*") if path.is_file()]  # noqa: E731
    assert files()
    minutes_later(monkeypatch, sum(CACHE) / 60)
    route_utils.delete_files_created_by_app(demo, CACHE[1])
    assert files() == []


def minutes_later(monkeypatch, minutes):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(minutes=minutes)

    monkeypatch.setattr(route_utils, "datetime", Clock)


def test_sessions_without_a_visit_are_forgotten_when_nobody_asks(demo, tmp_path):
    holder = demo.state_holder
    assert one_request(demo.address, 0, np.random.default_rng(3), False) == "right"
    state = next(block for block in demo.blocks.values() if getattr(block, "stateful", False))
    visit = holder["a visitor"]
    visit[state._id] = Visit(tmp_path)
    assert len(holder.session_data) > 1
    soon, later = (datetime.now() + timedelta(seconds=s) for s in (-30, 120))
    kept = set(holder.session_data)
    forget_sessions(holder, 60, soon)
    assert set(holder.session_data) == kept
    forget_sessions(holder, 60, later)
    assert set(holder.session_data) == set(holder.time_last_used) == {"a visitor"}
    assert one_request(demo.address, 0, np.random.default_rng(4), False) == "right"


def test_the_server_tidies_up_by_itself(monkeypatch):
    from inpaint_hub.demo import tidying

    done = threading.Event()
    monkeypatch.setattr(tidying, "ROUND_SECONDS", 0.01)
    monkeypatch.setattr(tidying, "forget_sessions", lambda holder, seconds: done.set())
    with served(tiny_pipeline()):
        assert done.wait(60)


def test_a_visits_files_go_an_hour_after_the_last_one(tmp_path):
    old, young = Visit(tmp_path), Visit(tmp_path)
    now = time.time()
    for visit, age in ((old, 2 * VISIT_SECONDS), (young, VISIT_SECONDS / 2)):
        path = visit.new_file("a.png")
        path.write_bytes(b"x")
        for one in (path, path.parent, visit.folder):
            os.utime(one, (now - age, now - age))
    forget_old(tmp_path, VISIT_SECONDS, now)
    assert not old.folder.exists() and young.folder.exists()
    forget_old(tmp_path, VISIT_SECONDS, now + VISIT_SECONDS)
    assert not young.folder.exists()
