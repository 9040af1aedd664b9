"""A run's records, small and hostile, and the page made of them."""

import pytest

HOSTILE = '</think><script>window.stolen=1</script><img src=x onerror="window.stolen=2">&amp;"\'`'


@pytest.fixture
def hostile() -> str:
    return HOSTILE


@pytest.fixture
def make_completion():
    def made(text: str, **more):
        return {
            "text": text, "finish": "stop", "tokens": 5, "reward": 1.0,
            "parts": {"accuracy": 1.0, "format": 1.0}, "verdict": "correct",
            "reading": {"value": 2, "how": "number"}, "why": "read 2", "advantage": 0.5,
        } | more  # fmt: skip

    return made


@pytest.fixture
def make_sample(make_completion):
    def made(index: int = 0, *, texts=("<think>x</think><answer>2</answer>",), **more):
        return {
            "example_id": f"row/{index}", "source": "rows", "kind": "count", "style": "spatial-v1",
            "prompt": "How many?", "answer": "2", "choices": [], "images": ["a.png"],
            "messages": [{"role": "system", "text": "look"}, {"role": "user", "text": "How many?"}],
            "prompt_tokens": 40, "image_tokens": 16, "reward_mean": 0.5, "reward_std": 0.2,
            "flat": False, "completions": [make_completion(text) for text in texts],
        } | more  # fmt: skip

    return made


@pytest.fixture
def make_run():
    share = {"value": 0.5, "n": 8, "low": 0.2, "high": 0.8}
    point = {"generations": 4, "share": 0.3, "low": 0.1, "high": 0.5}

    def made(**more):
        return {
            "made_by": "rehearsal", "status": "pass", "stage": "grpo", "backend": "mlx",
            "backend_reason": "mlx, the first that runs here", "rejected_backends": [],
            "model": {"name": "pico", "parameters": 3_145_728, "architecture": "q", "path": ""},
            "config": {
                "seed": 0, "prompt": {"style": "spatial-v1"}, "reward": {"type": "combined"},
                "grpo": {"num_generations": 8, "temperature": 1.0, "max_completion_length": 64},
            },
            "versions": {"vlmtune": "0"}, "seconds": 1.25, "notes": [],
            "checks": [{"name": "flat_groups", "status": "pass", "detail": "none"}],
            "metrics": {
                "reward/mean": 0.5, "reward/std": 0.3, "reward/group_std": 0.2,
                "reward/parts/accuracy": 0.5,
            },
            "estimates": {"accuracy": share, "flat_groups": share},
            "details": {
                "generations": 8,
                "temperatures": [{
                    "temperature": 1.0, "chosen": True, "generations": 8, "prompts": 1,
                    "reward_mean": 0.5, "unreadable": 0.0, "flat": share, "forecast": [point],
                }],
                "kinds": [{"kind": "count", "prompts": 1, "completions": 8, "reward_mean": 0.5,
                           "accuracy": share, "unreadable": 0.0, "flat": 0.0}],
                "extremes": {"best": [], "worst": []},
            },
            "data": {
                "fingerprint": "0" * 64, "kept": 1, "skipped": 0, "renamed": 0,
                "sources": [{"name": "rows.jsonl", "read": 1, "kept": 1, "skipped": 0,
                             "reasons": {}, "first_skipped": []}],
                "train": {"rows": 1, "fingerprint": "1" * 64}, "evaluation": None,
                "no_evaluation": "one row leaves none",
                "leaks": {"looked": False, "line": "not looked for", "rows": 0, "reasons": {},
                          "dropped": 0, "first": []},
            },
        } | more  # fmt: skip

    return made
