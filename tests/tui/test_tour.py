"""The tour, walked from its first card to its last; every card says its key as it is now."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.tui.support import screen_text, shows, wait_for
from workbench.tui.actions import BY_ID, use_keys
from workbench.tui.tour import CARDS, TourApp


@pytest.fixture
def remapped() -> Iterator[None]:
    use_keys({"step.next": ("ctrl+n",), "go.failure": ("f9",)})
    yield
    use_keys({})


@pytest.mark.usefixtures("remapped")
async def test_the_tour_is_walked_with_the_keys_that_it_names() -> None:
    app = TourApp(theme="mlgym-dark")
    async with app.run_test(size=(80, 24)) as pilot:
        for number, card in enumerate(CARDS[:-1], 1):
            title = f"Tour {number} of {len(CARDS)}"
            await wait_for(pilot, partial(shows, app, title), card.says)
            assert app.workbench.shown == card.step
            key = f"{BY_ID[card.action].shown_keys.split(' ')[0]} {card.does.split(',')[0]}"
            await wait_for(pilot, partial(shows, app, key), key)
            keys = BY_ID[card.action].keys_now[:1]
            then = {"search.open": (*"insist", "enter"), "app.help": ("escape",)}.get(card.action, ())
            await pilot.press(*keys, *then)
        await wait_for(pilot, lambda: "That was the tour." in screen_text(app), "the last card")
        assert app.workbench.shown == app.workbench.state.last_step
        await pilot.press("q")
        await wait_for(pilot, lambda: not app.is_running, "the end")


async def test_it_goes_on_without_trying_changes_nothing_and_is_left_at_any_time() -> None:
    app = TourApp(theme="mlgym-dark")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("enter", "enter", "A")
        await wait_for(pilot, lambda: "only be looked at" in screen_text(app), "why nothing is noted")
        assert app.screen is app.workbench and "Tour 3 of" in screen_text(app)
        await pilot.press("q")
        await wait_for(pilot, lambda: not app.is_running, "the end")
