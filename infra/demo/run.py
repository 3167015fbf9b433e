"""`headrace demo`: sends real clicks through the real stack, and shows what the recommender makes of them.

It streams Online Retail if its file is there, else simulated shoppers, and now and then a broken record, to show where
those go. Beside them one shopper, `you`, clicks through the tracker, and each click is timed until Redis shows its
features and its list. Then simulated shoppers with hidden tastes see lists by a bandit, by popularity and at random.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live

from headrace.edge import policies
from headrace.infra.clients import flink
from headrace.infra.demo import version
from headrace.infra.demo.scene import BROKEN_EVERY, CLICKS_PER_S, SEED, SLATES_PER_S, YOU, Scene
from headrace.infra.demo.view import lines, say, screen
from headrace.infra.errors import HeadraceError
from headrace.infra.launch.streaming import Submission, submit
from headrace.infra.operate import beginning
from headrace.infra.settings import Settings, load
from headrace.infra.stack import lifecycle
from headrace.infra.versions.store import Pointer
from headrace.schemas import redis_keys

FEATURES, LISTS, BANDIT = "session_features", "collaborative", "bandit"  # jobs
PLAIN_SECONDS = 20.0
FIRST_FEATURE_S = 120
PLAIN_EVERY_S, SCREEN_EVERY_S = 5.0, 0.5


def demo(console: Console, seconds: float | None, data: Path) -> None:
    """Runs the demo until `seconds` after everything runs, or Ctrl-C. The stack stays up.

    Without a terminal it ends by itself. Raises HeadraceError if no feature reaches Redis.
    """
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
    """Starts the jobs one after the other, and prints a line about each."""

    def __init__(self, console: Console, settings: Settings, began_s: float) -> None:
        self.console, self.settings, self.began_s = console, settings, began_s
        self.pointer: Pointer | None = None

    def tell(self, what: str, said: str) -> None:
        say(self.console, f"  {what:<12} {time.monotonic() - self.began_s:5.1f} s  {said}")

    def run(self, job: str) -> None:
        if not flink.alive(self.settings.flink, job):
            submit(self.settings, beginning.begin(self.settings, Submission(job)).submission)
        self.tell("job", f"{job} runs")

    def learn(self, scene: Scene) -> None:
        """Starts the rest, one after the other: on few cores all at once is no faster."""
        try:
            self.pointer = version.publish(scene.shop, SEED, self.settings)
            self.tell("version", f"{self.pointer.version} serves")
            self.run(LISTS)
            scene.lists_run.set()
            self.run(BANDIT)
            self.tell("shoppers", f"come, {SLATES_PER_S:.0f} slates a second, each by one of three ways at random")
            scene.open.set()
        except Exception as error:
            scene.failure.append(error)


def _show(console: Console, scene: Scene, seconds: float | None) -> None:
    """Shows the scene until it fails, Ctrl-C, or `seconds` after the simulated shoppers came."""
    if seconds is None:
        seconds = float("inf") if console.is_terminal else PLAIN_SECONDS
    plain = not console.is_terminal or "DEMO_SECONDS" in os.environ
    every_s = PLAIN_EVERY_S if plain else SCREEN_EVERY_S
    screen_ = nullcontext() if plain else Live(console=console, refresh_per_second=4, auto_refresh=False)
    with screen_ as live, suppress(KeyboardInterrupt):
        for rate in _rates(scene, seconds, every_s):
            if live is None:
                for line in lines(scene, rate):
                    say(console, line)
            else:
                live.update(screen(scene, rate), refresh=True)


def _rates(scene: Scene, seconds: float, every_s: float) -> Iterator[float]:
    """Yields the clicks per second since the last look, until `seconds` after the simulated shoppers came."""
    end_s = float("inf")
    sent, at_s = scene.sent, time.monotonic()
    while time.monotonic() < end_s and not scene.failure:
        time.sleep(min(every_s, max(0.0, end_s - time.monotonic())))
        if scene.open.is_set():
            end_s = min(end_s, time.monotonic() + seconds)
        rate = (scene.sent - sent) / (time.monotonic() - at_s)
        sent, at_s = scene.sent, time.monotonic()
        yield rate


def _say_goodbye(console: Console, settings: Settings, pointer: Pointer | None) -> None:
    cli = f"  redis-cli -h {settings.redis.host} -p {settings.redis.port}"
    name = pointer.version if pointer else ""
    again = (
        [f"  headrace rollback                {pointer.previous} serves again"] if pointer and pointer.previous else []
    )
    for line in (
        "",
        "The stack is still up. Look around:",
        f"{cli} GET {redis_keys.session(YOU)}",
        f"{cli} GET {redis_keys.live(name, YOU)}",
        f"{cli} HKEYS {redis_keys.bandit(settings.bandit.policy, policies.learnt(settings.bandit))}",
        f"  http://{settings.flink.rest}          Flink's UI",
        f"  headrace recommend {YOU} --explain  the list, and why",
        "  headrace deadletters             what was refused, and why",
        "  headrace status                  every address, port, pid and job",
        *again,
        "  make down                        ends it",
    ):
        say(console, line)
