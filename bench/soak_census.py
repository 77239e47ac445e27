"""A hook of the soaked gateway that counts what is alive in its process, for whoever asks the model `census`."""

import asyncio
import collections
import gc
import json

from aigateway import Call
from aigateway.hooks import Hook

MODEL = "census"


class Census(Hook):
    """Answers with the names of all tasks and how often each is there. What nobody holds is collected before."""

    def before_request(self, call: Call) -> str | None:
        if call.model != MODEL:
            return None
        gc.collect()
        names = (getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
        return json.dumps(collections.Counter(names))
