"""Asks a pool over gRPC: whole, and as a stream. Another process serves it: `npx llmpool serve`.

    pip install grpcio grpcio-tools
    LLMPOOL_KEY=… python examples/grpc_client.py 127.0.0.1:7070 capital 'What is the capital of France?'
"""

import os
import sys
from pathlib import Path

import grpc

# Where the npm package has it: node_modules/llmpool/proto.
sys.path.insert(0, os.environ.get("LLMPOOL_PROTO", str(Path(__file__).resolve().parent.parent / "proto")))
messages, services = grpc.protos_and_services("llmpool/v1/llmpool.proto")


def main(address="127.0.0.1:7070", task="capital", prompt="What is the capital of France?"):
    key = os.environ.get("LLMPOOL_KEY")
    metadata = [("authorization", f"Bearer {key}")] if key else []
    work = messages.InferRequest(task=task, prompt=prompt, project="example")

    with grpc.insecure_channel(address) as channel:
        pool = services.LlmPoolStub(channel)

        # The timeout goes to the pool: it stops asking providers when nobody waits any more.
        answer = pool.Infer(work, metadata=metadata, timeout=30)
        print(f"{answer.content} ({answer.winner_model} of {answer.provider}, {answer.usage.total_tokens} tokens)")

        for told in pool.InferStream(work, metadata=metadata, timeout=30):
            if told.WhichOneof("event") == "delta":
                print(told.delta, end="", flush=True)
            if told.WhichOneof("event") == "done":
                print(f" ({told.done.provider})")

        try:
            pool.Infer(messages.InferRequest(task="no-such-task", prompt=prompt), metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            field = dict(error.trailing_metadata()).get("x-llmpool-field")
            print(f"{error.code().name}, about {field}: {error.details()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
