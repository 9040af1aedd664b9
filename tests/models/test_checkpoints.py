import json

from vlmtune.models.checkpoints import flatten_config, flattened_folder

NESTED = {
    "model_type": "qwen2_5_vl",
    "image_token_id": 6,
    "tie_word_embeddings": True,
    "text_config": {
        "model_type": "qwen2_5_vl_text",
        "hidden_size": 192,
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [16, 24, 24],
        },
    },
    "vision_config": {"model_type": "qwen2_5_vl_vision", "depth": 4},
}
FLAT = {
    "model_type": "qwen2_5_vl",
    "image_token_id": 6,
    "tie_word_embeddings": True,
    "hidden_size": 192,
    "rope_theta": 1e6,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vision_config": {"model_type": "qwen2_5_vl", "depth": 4},
}


def test_text_keys_move_to_the_root_where_the_roots_own_keys_win():
    assert flatten_config(NESTED) == FLAT


def test_a_flat_config_stays_as_it_is():
    assert flatten_config(FLAT) == FLAT


def test_the_given_config_is_not_changed():
    before = json.dumps(NESTED)
    flatten_config(NESTED)
    assert json.dumps(NESTED) == before


def test_newer_spelling_of_the_rope_type_is_understood():
    config = {**FLAT, "rope_scaling": {"rope_type": "default", "mrope_section": [16, 24, 24]}}
    assert flatten_config(config)["rope_scaling"]["type"] == "mrope"


def test_a_flat_folder_is_used_where_it_lies(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(FLAT))
    with flattened_folder(tmp_path) as folder:
        assert folder == tmp_path


def test_a_nested_folder_is_offered_flat_and_left_untouched(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(NESTED))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    with flattened_folder(tmp_path) as folder:
        assert folder != tmp_path
        assert json.loads((folder / "config.json").read_text()) == FLAT
        assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert not folder.exists()
    assert json.loads((tmp_path / "config.json").read_text()) == NESTED
    assert (tmp_path / "model.safetensors").read_bytes() == b"weights"
