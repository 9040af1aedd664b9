"""Finished models on the hub."""

from pathlib import Path

from vlmtune.config import RunConfig


def upload(folder: Path, config: RunConfig) -> None:
    """Upload a finished model where `save.push_to_hub` asks for it; checkpoints stay here.

    Args:
        folder: Holds the model's files, and perhaps those of its run.
        config: `save.hub_model_id` names the place.
    """
    if not config.save.push_to_hub or config.save.hub_model_id is None:
        return
    import huggingface_hub

    huggingface_hub.create_repo(config.save.hub_model_id, exist_ok=True)
    huggingface_hub.upload_folder(
        repo_id=config.save.hub_model_id,
        folder_path=folder,
        allow_patterns=["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"],
        ignore_patterns=["checkpoints/*", "run.json"],
    )
