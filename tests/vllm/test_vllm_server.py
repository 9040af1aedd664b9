"""A vLLM server draws as transformers does, is given adapters while it runs, and is checked."""

import pytest

from vlmtune.backends import pytorch
from vlmtune.backends.pytorch.inputs import Speech
from vlmtune.backends.pytorch.vllm_server import ServedGenerator, Server
from vlmtune.errors import BackendUnavailable, CheckpointError
from vlmtune.types import Sampling

GREEDY = Sampling(max_tokens=24, temperature=0)
HOT = Sampling(samples=3, max_tokens=24, temperature=1.0, top_p=0.95, seed=7)


def ids(answers):
    return [[completion.token_ids for completion in group] for group in answers]


@pytest.fixture(scope="module")
def server(server_url) -> Server:
    return Server(server_url)


@pytest.fixture(scope="module")
def served(server, loaded) -> ServedGenerator:
    spoken = Speech(reader=loaded.reader, end_ids=loaded.end_ids, suppressed=loaded.suppressed)
    return ServedGenerator(server, spoken, loaded.info, rows=16)


def test_a_server_draws_the_same_tokens_as_transformers(served, torch_pico, questions, prompts):
    asked = [*questions[:12], *prompts]
    for sampling in (GREEDY, HOT):
        ours, theirs = (one.generate(asked, sampling) for one in (served, torch_pico))
        assert ids(ours) == ids(theirs)
        for group, others in zip(ours, theirs, strict=True):
            for one, other in zip(group, others, strict=True):
                assert one.text == other.text
                assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_server_answers_with_the_adapter_that_came_last(served, server, adapters, questions):
    for folder in adapters:
        server.adopt(folder)
        expected = pytorch.load_generator("pico", adapter=folder).generate(questions[:8], HOT)
        assert ids(served.generate(questions[:8], HOT)) == ids(expected)
    _, models = server.post("/v1/models", None)
    own = [model["id"] for model in models["data"] if model["id"].startswith(server.model[:-2])]
    assert own == [server.model]


def test_two_runs_share_a_server(server_url, adapters):
    one, other = Server(server_url), Server(server_url)
    for server in (one, other):
        server.adopt(adapters[0])
    assert one.model != other.model


def test_an_adapter_that_the_server_cannot_see_is_refused(server, tmp_path):
    with pytest.raises(CheckpointError, match="does not take the adapter"):
        server.adopt(tmp_path / "nowhere")


def test_nobody_at_the_address_is_told():
    with pytest.raises(BackendUnavailable, match=r"no vLLM server answers at http://127.0.0.1:9"):
        Server("http://127.0.0.1:9/")
