"""A vLLM server as a `Generator`: chat requests with pictures, adapters loaded while it runs.

    server = Server("http://localhost:8000")
    server.adopt(Path("adapter"))        the server reads the folder, so it must see the same files

The server draws with our own processor (`vllm_served.py`), so a seed gives the same answers as in
this process. Only the standard library is used: a request is JSON over HTTP.
"""

import base64
import io
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import PIL.Image

from vlmtune.backends.pytorch.inputs import Speech
from vlmtune.backends.pytorch.vllm_generate import Progress, final_size
from vlmtune.errors import BackendUnavailable, CheckpointError, DataError, RunFailed
from vlmtune.types import JSON, Completion, Encoded, Finish, ModelInfo, Prompt, Sampling

EXAMPLE, NUMBERS, NEVER, PROBE = (
    "vlmtune_example", "vlmtune_numbers", "vlmtune_never", "vlmtune_probe",
)  # fmt: skip
"""What a request brings: its example; seed, sample, length, temperature, top-p and top-k; ids that
are never drawn; and the question whether our processor is there."""
PRESENT = "vlmtune draws here"
"""The answer to that question, which vLLM gives as an error."""
SECONDS = 600
"""How long one answer may take."""


class Server:
    """A running server.

    Attributes:
        url: Its address, without a path.
        model: What to ask for: the base model, or the adapter that was adopted last.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # Several runs may share a server, and a run that was killed leaves its last adapter there.
        self._own = f"vlmtune-{uuid.uuid4().hex[:12]}"
        self._count = 0
        self.model = self._base()
        self._refuse_other_draws()

    def adopt(self, folder: Path) -> None:
        """Answer with an adapter from now on; the one before is forgotten.

        Args:
            folder: A PEFT folder, which the server reads by the same path.

        Raises:
            CheckpointError: If the server cannot take it.
        """
        before, self._count = self._count, self._count + 1
        name = f"{self._own}-{self._count}"
        code, said = self.post(
            "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)}
        )
        if code != 200:
            raise CheckpointError(
                f"the vLLM server at {self.url} does not take the adapter in {folder}: "
                f"{_message(said)}; start it on this machine with --enable-lora, --max-lora-rank "
                "and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
            )
        if before:
            self.post("/v1/unload_lora_adapter", {"lora_name": f"{self._own}-{before}"})
        self.model = name

    def post(self, path: str, body: JSON | None) -> tuple[int, JSON]:
        """Send JSON and read JSON, or text; a GET where there is no body.

        Raises:
            BackendUnavailable: If nobody answers.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return int(answer.status), _parsed(answer.read())
        except urllib.error.HTTPError as error:
            return int(error.code), _parsed(error.read())
        except OSError as error:
            raise BackendUnavailable(
                f"no vLLM server answers at {self.url} ({error}); start one, or correct "
                "hardware.vllm_server_url"
            ) from error

    def _base(self) -> str:
        code, said = self.post("/v1/models", None)
        if code != 200 or not isinstance(said, dict):
            raise BackendUnavailable(f"{self.url} is no vLLM server: {code} {_message(said)}")
        return str(said["data"][0]["id"])

    def _refuse_other_draws(self) -> None:
        """Without our processor every sample would be the greedy answer."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": "?"}],
            "max_tokens": 1,
            "vllm_xargs": {PROBE: 1},
        }
        _, said = self.post("/v1/chat/completions", body)
        if PRESENT not in json.dumps(said):
            raise BackendUnavailable(
                f"the vLLM server at {self.url} draws its own way; start it with "
                "--logits-processors vlmtune.backends.pytorch.vllm_served:ServedDraw"
            )


class ServedGenerator:
    """Draws with a server.

    Attributes:
        model: What was loaded here; the server must serve the same weights.
    """

    def __init__(self, server: Server, speech: Speech, model: ModelInfo, *, rows: int) -> None:
        self.model = model
        self._server = server
        self._speech = speech
        self._rows = rows

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, *, progress: Progress | None = None
    ) -> list[list[Completion]]:
        """Draw completions, [P][G], in the order of `prompts`; at most `rows` requests at once.

        Raises:
            RunFailed: If the server cannot answer, or reads a prompt otherwise than a trainer.
        """
        started = time.perf_counter()
        copies = 1 if sampling.temperature > 0 else sampling.samples
        samples = sampling.samples // copies
        asked = [self._messages(prompt) for prompt in prompts]
        read = [self._speech.reader.read(prompt).ids_T.tolist() for prompt in prompts]
        places = [(place, sample) for place in range(len(prompts)) for sample in range(samples)]
        found: list[Completion] = []

        def ask(one: tuple[int, int]) -> Completion:
            place, sample = one
            prompt = prompts[place]
            body = self._body(asked[place], prompt, sample=sample, sampling=sampling)
            return self._answered(body, prompt.example_id, read[place])

        with ThreadPoolExecutor(self._rows) as pool:
            for completion in pool.map(ask, places):
                found.append(completion)
                if progress is not None:
                    progress(copies)
        seconds = (time.perf_counter() - started) / max(1, len(prompts) * sampling.samples)
        found = [replace(one, seconds=seconds) for one in found]
        groups = [found[start : start + samples] for start in range(0, len(found), samples)]
        return [group * copies for group in groups]

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Tokenise a prompt and a target answer as training would."""
        return self._speech.reader.encode(prompt, target)

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Refuse: a server closes the assistant's turn its own way, so targets would be others.

        Raises:
            BackendUnavailable: Always.
        """
        raise BackendUnavailable(
            "a vLLM server does not score answers; score with the model in this process"
        )

    def _messages(self, prompt: Prompt) -> list[JSON]:
        """Write messages with pictures inside them, in their final size and without loss."""
        processor = self._speech.reader.processor.image_processor
        pictures = iter(self._speech.reader.pictures(prompt))
        messages = []
        for message in prompt.messages:
            content = message["content"]
            if not isinstance(content, str):
                content = [
                    _picture(final_size(next(pictures), processor))
                    if part["type"] == "image"
                    else part
                    for part in content
                ]
            messages.append({**message, "content": content})
        return messages

    def _body(
        self, messages: list[JSON], prompt: Prompt, *, sample: int, sampling: Sampling
    ) -> dict[str, JSON]:
        numbers = [sampling.seed, sample, sampling.max_tokens, sampling.temperature]
        return {
            "model": self._server.model,
            "messages": messages,
            "max_tokens": sampling.max_tokens,
            "temperature": 0.0,
            "top_p": 1.0,
            "repetition_penalty": 1.0,
            "stop_token_ids": sorted(self._speech.end_ids),
            "logprobs": True,
            "top_logprobs": 0,
            "return_token_ids": True,
            "vllm_xargs": {
                EXAMPLE: prompt.example_id,
                NUMBERS: [*numbers, sampling.top_p, sampling.top_k],
                NEVER: list(self._speech.suppressed),
            },
        }

    def _answered(self, body: JSON, name: str, read: list[int]) -> Completion:
        code, said = self._server.post("/v1/chat/completions", body)
        if code in (400, 422):
            raise DataError(f"the vLLM server does not take {name}: {_message(said)}")
        if code != 200:
            raise RunFailed(f"the vLLM server failed at {name}: {code} {_message(said)}")
        if said["prompt_token_ids"] != read:
            raise RunFailed(
                f"the vLLM server reads {name} as {len(said['prompt_token_ids'])} tokens and a "
                f"trainer as {len(read)}, not the same ones; serve the folder that is trained"
            )
        choice = said["choices"][0]
        ids = tuple(int(token) for token in choice["token_ids"])
        return Completion(
            text=self._speech.reader.text(ids),
            token_ids=ids,
            logprobs=tuple(float(one["logprob"]) for one in choice["logprobs"]["content"]),
            finish=Finish.STOP if ids[-1] in self._speech.end_ids else Finish.LENGTH,
            seconds=0.0,
        )


def _picture(picture: PIL.Image.Image) -> JSON:
    written = io.BytesIO()
    picture.save(written, format="PNG")
    address = f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": address}}


def _parsed(data: bytes) -> JSON:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


def _message(said: JSON) -> str:
    told = said.get("error", said) if isinstance(said, dict) else said
    told = told.get("message", told) if isinstance(told, dict) else told
    return " ".join(str(told).split())[:300]
