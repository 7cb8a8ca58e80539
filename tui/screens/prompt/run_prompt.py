"""Asking base and tuned from the run screen, at the step that is looked at."""

from __future__ import annotations

from ....core.run.control import AskPrompt
from ....core.run.runs import step_of, weights_of
from ...app.opening import make_screen
from ..run.parts import RunParts
from ..run.run_questions import way_on
from .answers import WAITING, Exchange
from .asking import ask_prompt
from .settings import GenerationSettings

NOTHING_ANSWERS = "No worker is alive, and the weights of this run are not here."


def can_answer(screen: RunParts, refused: str = "") -> bool:
    """Whether there is a model to ask; if not, why not is told. `refused`: another reason."""
    refused = refused or _nothing_answers(screen)
    if refused:
        from ...widgets.refusal import Refusal

        screen.app.push_screen(Refusal("Nothing can answer", refused))
    return not refused


def _nothing_answers(screen: RunParts) -> str:
    run, history = screen.followed, screen.follower.history
    if run.worker_alive() or run.model_path.exists():
        return ""
    if weights_of(run, history.best_step) is None:
        return NOTHING_ANSWERS
    return way_on(screen) if history.finished is None else ""


def _step_of_weights(screen: RunParts) -> int | None:
    """The step whose checkpoint answers for a run that ended before its model was saved."""
    run, history = screen.followed, screen.follower.history
    if history.finished is None or run.model_path.exists():
        return None
    weights = weights_of(run, history.best_step)
    return step_of(weights) if weights is not None else None


def ask_models(screen: RunParts, text: str, seed: int) -> None:
    settings, likelihoods = screen.app.generation, screen.prompt.answers.view.likelihoods
    request = AskPrompt(
        text=text,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        seed=seed,
        likelihoods="none" if likelihoods == "none" else "all",
        details=likelihoods != "none",
    )
    words = "" if screen.follower.history.task_type.has_labels else settings.in_words(seed)
    words = screen.travel.in_words(words, _step_of_weights(screen))
    exchange = Exchange(text, message=WAITING, settings=words, seed=seed, running=True)
    exchange.step = screen.travel.moment.step if screen.travel.moment else None
    screen.prompt.begin(exchange)
    asked = screen.travel.asked(request)
    ask_prompt(screen.followed, exchange, asked, screen.post_message)


def open_settings(screen: RunParts) -> None:
    from .settings import SettingsForm

    def keep(settings: GenerationSettings | None) -> None:
        if settings is not None:
            screen.app.generation = settings
            screen.key_line.show_notice(f"Next answers: {settings.in_words(settings.seed)}.")

    screen.app.push_screen(SettingsForm(screen.app.generation), keep)


def open_token(screen: RunParts) -> bool:
    """The top five of the chosen token; False where none is chosen."""
    found = screen.prompt.chosen_token()
    if found is None:
        return False
    from .answers_pane import TopFive

    screen.app.push_screen(TopFive(*found))
    return True


def open_layers(screen: RunParts, *, again: bool) -> None:
    """What happens to the last prompt inside both models; `again`: nobody asked for it yet."""
    if can_answer(screen):
        newest = None if again else screen.prompt.answers.newest
        started = screen.follower.history.started
        name = started.name if started else ""
        opened = make_screen("trace", screen.followed, newest.prompt if newest else "", name)
        screen.app.push_screen(opened)
