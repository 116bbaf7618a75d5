"""Makes the calls it reads, one JSON line each way: {"call", "messages"} in, {"call", "text" or "error"} out."""

import asyncio
import json
import sys

from litellm import Router

base, model, key = sys.argv[1:]
router = Router(
    model_list=[
        {"model_name": model, "litellm_params": {"model": f"openai/{model}", "api_base": base, "api_key": key}}
    ]
)


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def answer(call, messages):
    try:
        reply = await router.acompletion(model=model, messages=messages)
        say({"call": call, "text": reply.choices[0].message.content})
    except Exception as error:
        say({"call": call, "error": str(error)})


async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say({"ready": True})
    running = set()
    while line := await reader.readline():
        task = asyncio.create_task(answer(**json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)


asyncio.run(main())
