"""`headrace demo`: real clicks through the real stack, and what the recommender makes of them.

Streams Online Retail where its file is found, else simulated shoppers; now and then a broken record, to show where
those go. Beside them one shopper, `you`, clicks through the tracker, and each click is timed until Redis shows its
features and its list. Then simulated shoppers with hidden tastes see lists by a bandit, by popularity and by chance.
"""

import os
import threading
import time
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live

from headrace.infra.clients import flink
from headrace.infra.demo import version
from headrace.infra.demo.scene import BROKEN_EVERY, CLICKS_PER_S, SEED, SLATES_PER_S, YOU, Scene
from headrace.infra.demo.view import lines, say, screen
from headrace.infra.errors import HeadraceError
from headrace.infra.launch.streaming import Submission, submit
from headrace.infra.settings import Settings, load
from headrace.infra.stack import lifecycle
from headrace.infra.versions.store import Pointer
from headrace.schemas import redis_keys

FEATURES, LISTS, BANDIT = "session_features", "collaborative", "bandit"  # jobs
PLAIN_SECONDS = 20.0
FIRST_FEATURE_S = 120
PLAIN_EVERY_S, SCREEN_EVERY_S = 5.0, 0.5


def demo(console: Console, seconds: float | None, data: Path) -> None:
    """Ends `seconds` after everything runs, or by itself without a terminal, or by Ctrl-C; the stack stays up."""
    began_s = time.monotonic()
    lifecycle.up(console)
    settings = load()
    story = Story(console, settings, began_s)
    story.run(FEATURES)
    scene = Scene(settings, data)
    say(console, f"streaming {scene.source}, {CLICKS_PER_S:.0f} a second, one in {BROKEN_EVERY} broken on purpose")
    with scene:
        if not scene.first_feature.wait(FIRST_FEATURE_S):
            why = flink.last_failure(settings.flink, flink.named(settings.flink, FEATURES))
            raise HeadraceError(
                f"no feature in Redis after {FIRST_FEATURE_S} s: {why or 'see `headrace logs taskmanager`'}"
            )
        story.tell("feature", "the first one is in Redis")
        # The screen shows the stream meanwhile: a job takes Flink's client 10 to 15 s.
        threading.Thread(target=story.learn, args=(scene,), daemon=True).start()
        _show(console, scene, seconds)
    if scene.failure:
        raise scene.failure[0]
    _say_goodbye(console, settings, story.pointer)


class Story:
    """What is started, and what is said of it."""

    def __init__(self, console: Console, settings: Settings, began_s: float) -> None:
        self.console, self.settings, self.began_s = console, settings, began_s
        self.pointer: Pointer | None = None

    def tell(self, what: str, said: str) -> None:
        say(self.console, f"  {what:<12} {time.monotonic() - self.began_s:5.1f} s  {said}")

    def run(self, job: str) -> None:
        if not flink.alive(self.settings.flink, job):
            submit(self.settings, Submission(job))
        self.tell("job", f"{job} runs")

    def learn(self, scene: Scene) -> None:
        """The rest of the stage, one after the other: on few cores all at once is no faster."""
        try:
            self.pointer = version.publish(scene.shop, SEED, self.settings)
            self.tell("version", f"{self.pointer.version} serves")
            self.run(LISTS)
            scene.lists_run.set()
            self.run(BANDIT)
            self.tell(
                "shoppers", f"come, {SLATES_PER_S:.0f} slates a second, each shown by one of three ways at random"
            )
            scene.open.set()
        except Exception as error:
            scene.failure.append(error)


def _show(console: Console, scene: Scene, seconds: float | None) -> None:
    """The clock runs from when the simulated shoppers come."""
    if seconds is None and not console.is_terminal:
        seconds = PLAIN_SECONDS
    plain = not console.is_terminal or "DEMO_SECONDS" in os.environ
    end_s = float("inf")
    with Live(console=console, refresh_per_second=4, auto_refresh=False) if not plain else nullcontext() as live:
        sent, at_s = scene.sent, time.monotonic()
        try:
            while time.monotonic() < end_s and not scene.failure:
                time.sleep(min(PLAIN_EVERY_S if plain else SCREEN_EVERY_S, max(0.0, end_s - time.monotonic())))
                if scene.open.is_set():
                    end_s = min(end_s, time.monotonic() + (float("inf") if seconds is None else seconds))
                rate = (scene.sent - sent) / (time.monotonic() - at_s)
                sent, at_s = scene.sent, time.monotonic()
                if live is None:
                    for line in lines(scene, rate):
                        say(console, line)
                else:
                    live.update(screen(scene, rate), refresh=True)
        except KeyboardInterrupt:
            pass


def _say_goodbye(console: Console, settings: Settings, pointer: Pointer | None) -> None:
    cli = f"  redis-cli -h {settings.redis.host} -p {settings.redis.port}"
    name = pointer.version if pointer else ""
    again = (
        [f"  headrace rollback                {pointer.previous} serves again"] if pointer and pointer.previous else []
    )
    for line in (
        "",
        "The stack is still up. Look around:",
        f"{cli} HGETALL {redis_keys.session(YOU)}",
        f"{cli} GET {redis_keys.live(name, YOU)}",
        f"{cli} HKEYS {redis_keys.bandit(settings.bandit.policy)}",
        f"  http://{settings.flink.rest}          Flink's UI",
        f"  headrace recommend {YOU} --explain  the list, and why",
        "  headrace deadletters             what was refused, and why",
        "  headrace status                  every address, port, pid and job",
        *again,
        "  make down                        ends it",
    ):
        say(console, line)
