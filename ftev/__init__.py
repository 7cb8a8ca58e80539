"""Is my fine-tuned model really better, and is it good enough to ship?

    import ftev

    run = ftev.open("latest")
    run.verdict.decision           # "ship", "hold" or "no evidence"
    run.metrics("test")["tuned"]   # {"accuracy": {"value": 0.93, "low": 0.91, …}, …}
    run.report("md")
    ftev.judge(frame)              # predictions with id, truth, base and tuned: a run, as above

    trainer.add_callback(ftev.FtevCallback())      # transformers and TRL: live, obeys stop
    with ftev.start("name", max_steps=100) as run:  # any loop: run.log(step, {"train/loss": 1.2})

Nothing here needs torch. `import ftev` imports nothing of the rest: every command starts with it.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api import Run, judge, open
    from .loops import FtevCallback, start

__all__ = ["FtevCallback", "Run", "__version__", "judge", "open", "start"]
__version__ = "0.1.0"

# Installed, core/ and tui/ are in this folder. In a checkout they stand beside it.
if not os.path.exists(os.path.join(__path__[0], "core")):
    __path__.append(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def __getattr__(name: str) -> object:
    if name in ("FtevCallback", "start"):
        from . import loops

        return getattr(loops, name)
    if name in __all__:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module 'ftev' has no attribute {name!r}")
