"""What a model can be fine-tuned to do: one file a task, one object in it.

Everything that differs between tasks is an attribute or a method of its object. The rest of ftev
asks the object ("does it have labels?") and never which task it is. A file in this folder that
defines `TASK` is a task; `engine/scoring/` holds how its rows become scores.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .task import Task

__all__ = ["TASKS", "Task", "find_task"]


def _load() -> dict[str, Task]:
    modules = (import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__))
    tasks = [module.TASK for module in modules if hasattr(module, "TASK")]
    return {task.name: task for task in tasks}


TASKS = _load()
_UNKNOWN = Task()


def find_task(name: str) -> Task:
    """The task of a name; one without labels or metrics of its own where the name is unknown.

    A run has no task before its first event, and may be of a newer version.
    """
    return TASKS.get(name, _UNKNOWN)
