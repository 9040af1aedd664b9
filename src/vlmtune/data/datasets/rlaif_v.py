"""RLAIF-V in the shape that TRL reads: 83,132 pairs ranked by a model.

{"images": [<JPEG>],
 "prompt": [{"role": "user", "content": [{"type": "image", "text": null},
                                         {"type": "text", "text": "What is he doing?"}]}],
 "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "He cooks."}]}],
 "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "He paints."}]}]}
"""

from vlmtune.data import published
from vlmtune.data.published import HubSource, Published

SOURCES = {
    "rlaif_v": HubSource(
        repo="HuggingFaceH4/rlaif-v_formatted",
        columns=("images", "prompt", "chosen", "rejected"),
        licence="cc-by-nc-4.0",
    )
}
OPTIONS = published.OPTIONS

load = Published(name="rlaif_v", source=SOURCES["rlaif_v"]).load
