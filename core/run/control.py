"""What may be said to a worker over its socket, and what it answers: one JSON line each.

Among the answers is what becomes of one input inside a model, stage by stage.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ..errors import ConfigError, Fault, LateError, RunError
from ..files.reading import BROKEN, reason
from .runs import Run, refuse_foreign

LINE_LIMIT = 4 << 20  # bytes of a request
FOLDER_LENGTH = 80  # characters
SERVING = "serving"  # state of a worker whose run is over: it only answers prompts


Share = tuple[str, float]  # a label or token, with its probability or its raw logit


class TracedLayer(msgspec.Struct, frozen=True):
    """The hidden state after a layer, at the traced place; layer 0 is the embedding.

    `top`: what the model would answer if it stopped here, most probable first; empty where no head
    can be put on this state. `distance`: |tuned - base| / |base| of the two hidden states.
    """

    index: int
    norm: float | None
    change: float | None = None  # |h - h before| / |h before|
    cosine: float | None = None  # with the layer before
    top: list[Share] = []
    distance: float | None = None
    distance_cosine: float | None = None


class ModelTrace(msgspec.Struct, frozen=True):
    """One model on one input, stage by stage."""

    model: str  # "base" or "tuned"
    name: str  # what answers: "base", "tuned", "base (linear probe)"
    architecture: str
    tokens: list[tuple[str, int]]  # text and id, in order
    place: str  # in words: whose hidden state is followed
    place_index: int | None  # the token it stands at; none: the mean of all
    layers: list[TracedLayer]
    lens: str  # in words: how a layer's state is made an answer
    logits: list[Share]  # the highest raw ones
    probabilities: list[Share]  # the same after the softmax
    final: str
    entropy: float | None = None  # of the last softmax, nats
    lens_error: float | None = None  # most that the last layer's lens and the model's logits differ
    apart: bool = False  # each label has a probability of its own, by the sigmoid
    cut_tokens: int = 0  # left out, as the model reads no more
    notes: list[str] = []


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="ask"):
    """Something asked of a worker."""


class AskStatus(Request, frozen=True, tag="status"):
    pass


class AskStop(Request, frozen=True, tag="stop"):
    """Save a resumable state, end the run and free the device."""


class AskPause(Request, frozen=True, tag="pause"):
    pass


class AskResume(Request, frozen=True, tag="resume"):
    pass


class AskCheckpoint(Request, frozen=True, tag="checkpoint"):
    pass


class AskPrompt(Request, frozen=True, tag="prompt"):
    """A prompt for base and tuned; temperature 0 is greedy, top_k 0 and top_p 1 cut nothing."""

    text: str
    models: list[Literal["base", "tuned"]] = msgspec.field(
        default_factory=lambda: ["base", "tuned"]
    )
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] = 0
    likelihoods: Literal["none", "generation", "all"] = "none"
    checkpoint: int | None = None
    """The step whose checkpoint answers for the tuned model; none: the model as it is now."""
    details: bool = False
    """With likelihoods: the top five at each token, and each answer under the other model."""


class AskTrace(Request, frozen=True, tag="trace"):
    """What becomes of a text in base and tuned, layer by layer; answered by one `Traced`."""

    text: str


AnyRequest = AskStatus | AskStop | AskPause | AskResume | AskCheckpoint | AskPrompt | AskTrace


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="reply"):
    """Something a worker answers; `Done` or `Failed` is the last."""


class StatusReply(Reply, frozen=True, tag="status"):
    state: str  # "loading", "training", "evaluating", "paused", "serving", …
    step: int = 0
    stopping: bool = False


class Accepted(Reply, frozen=True, tag="accepted"):
    """The request is taken and will be carried out at the next gap between steps."""

    text: str


class Held(Reply, frozen=True, tag="held"):
    """Training waits while this prompt is answered."""

    step: int


class TokenMade(Reply, frozen=True, tag="token"):
    model: str
    text: str
    log_likelihood: float = 0.0


class Labelled(Reply, frozen=True, tag="labels"):
    """A classifier's answer, most probable label first. `name` says what stands for the base.

    With `thresholds` each label has a probability of its own, and is given from its threshold on.
    """

    model: str
    name: str
    probabilities: dict[str, float]
    thresholds: dict[str, float] = {}


class ScoredToken(msgspec.Struct, frozen=True, array_like=True):
    """A token with its log-likelihood (nats); `rank` 1 means it was the most probable one.

    The texts of neighbours join to the text of the whole. `top`: the most probable tokens at this
    place with their probabilities, where they were asked for.
    """

    text: str
    log_likelihood: float | None
    rank: int | None
    top: list[tuple[str, float]] = []


class Completed(Reply, frozen=True, tag="completed"):
    """The whole answer of one model."""

    model: str
    text: str
    tokens: int
    seconds: float
    ended_by_eos: bool
    likelihoods: list[ScoredToken] = []


class CrossScored(Reply, frozen=True, tag="cross"):
    """The answer of `model` as `by` finds it, after the same prompt: token by token.

    `aligned`: both models read the same tokens, so that the tokens here are those of the answer.
    Where they do not, only `bits_per_byte` can be compared (K4).
    """

    model: str
    by: str
    tokens: list[ScoredToken]
    average_log_likelihood: float | None  # nats per token, its end included
    own_average: float | None  # the same under the model that wrote it
    bits_per_byte: float | None = None
    own_bits_per_byte: float | None = None
    aligned: bool = True


class Traced(Reply, frozen=True, tag="traced"):
    """What became of a text in each model."""

    text: str
    task: str
    models: list[ModelTrace]
    parts_at: int | None = None  # the first layer where the top answers of the two differ
    notes: list[str] = []


class Done(Reply, frozen=True, tag="done"):
    pass


class Failed(Reply, frozen=True, tag="failed"):
    text: str


AnyReply = (
    StatusReply
    | Accepted
    | Held
    | TokenMade
    | Labelled
    | Completed
    | CrossScored
    | Traced
    | Done
    | Failed
)

_requests = msgspec.json.Decoder(AnyRequest)
_replies = msgspec.json.Decoder(AnyReply)


def decode_request(line: bytes) -> AnyRequest:
    """Raises ValueError for what is not a request."""
    request: AnyRequest = _requests.decode(line)
    return request


def _decode_reply(run: Run, line: bytes) -> AnyReply:
    try:
        reply: AnyReply = _replies.decode(line)
    except BROKEN as error:
        what = f"its worker answered what cannot be read: {reason(error)}"
        raise RunError(Fault(run.id, what, "Ask with the version of ftev that runs it")) from None
    return reply


def encode_message(message: Request | Reply) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def socket_folder() -> Path:
    """A folder of this user's own, mode 0700, of a short path (sockets have 107 bytes at most).

    Where another user has taken its name in a shared folder, it is one in the home, else a new one.
    """
    name = f"ftev-{os.getuid()}"
    shared = [Path(tempfile.gettempdir()) / name, Path("/tmp") / name]
    places = [*shared, Path.home() / ".cache" / "ftev"]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places.insert(0, Path(runtime) / "ftev")
    for place in places:
        if len(str(place)) <= FOLDER_LENGTH and _is_ours(place):
            return place
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/tmp"))


def _is_ours(folder: Path) -> bool:
    """Whether there is, or can be made, a folder into which nobody else can look."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return mine and not found.st_mode & 0o077 and os.access(folder, os.W_OK)


def socket_path(run: Run) -> Path:
    """Where a worker of this process will listen. Sockets that nobody listens on are removed."""
    folder = socket_folder()
    for path in folder.glob("*.sock"):
        _remove_if_dead(path)
    name = hashlib.sha256(f"{run.path.resolve()}:{os.getpid()}".encode()).hexdigest()[:16]
    return folder / f"{name}.sock"


def _remove_if_dead(path: Path) -> None:
    """A killed worker leaves its socket. Asked, not guessed: its process may be of a container."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(0.0)
        try:
            line.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:  # it listens and is busy, or is gone
            pass


class HangUp:
    """Ends a question from another thread: the worker notices, and stops answering it."""

    def __init__(self) -> None:
        self.hung_up = False
        self._line: socket.socket | None = None
        self._lock = threading.Lock()

    def take(self, line: socket.socket) -> None:
        with self._lock:
            self._line = line
            if self.hung_up:
                self._shut()

    def now(self) -> None:
        with self._lock:
            self.hung_up = True
            self._shut()

    def _shut(self) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError):  # closed already
                self._line.shutdown(socket.SHUT_RDWR)


def ask(
    run: Run, request: Request, timeout: float | None = 30.0, hang_up: HangUp | None = None
) -> Iterator[AnyReply]:
    """Send one request to the run's worker and yield its answers until Done, or until hung up.

    Raises RunError where no worker listens, on a failure it reports, LateError after `timeout`
    seconds of silence; ConfigError, before anything is sent, for more than a worker takes.
    """
    asked = encode_message(request)
    if len(asked) > LINE_LIMIT:
        what = f"has {len(asked) / (1 << 20):.1f} MiB, and a worker takes {LINE_LIMIT >> 20} MiB"
        raise ConfigError(Fault("the prompt", what, "Ask with a shorter text"))
    refuse_foreign(run)
    worker = run.worker()
    if worker is None or not worker.socket or not run.worker_alive():
        raise RunError(f"{run.id}: no worker is running")
    if worker.host != socket.gethostname():
        raise RunError(f"{run.id}: its worker runs on {worker.host}: ask it from there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout)
        try:
            line.connect(worker.socket)
            if hang_up is not None:
                hang_up.take(line)
            line.sendall(asked)
            with line.makefile("rb") as answers:
                for answer in answers:
                    if hang_up is not None and hang_up.hung_up:
                        return
                    reply = _decode_reply(run, answer)
                    if isinstance(reply, Failed):
                        raise RunError(
                            reply.text.strip() or f"{run.id}: its worker failed without a reason"
                        )
                    if isinstance(reply, Done):
                        return
                    yield reply
        except TimeoutError:
            message = f"{run.id}: the worker did not answer within {timeout:g} s"
            raise LateError(message) from None
        except OSError as error:
            if hang_up is not None and hang_up.hung_up:
                return
            raise RunError(f"{run.id}: its worker does not listen: {error.strerror}") from None
    if hang_up is not None and hang_up.hung_up:
        return
    raise RunError(f"{run.id}: the worker ended before its answer did")
