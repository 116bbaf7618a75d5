"""The official Python clients, put through what those of JavaScript are put through.

Run by `gateway-clients.test.mjs`, which starts the gateway, says where it is (GATEWAY_URL, GATEWAY_KEY), and afterwards
looks at the provider: who was asked, how often, and which of these calls was cut off.
"""

import asyncio
import os
import unittest

import anthropic
import openai

URL = os.environ["GATEWAY_URL"]
KEY = os.environ["GATEWAY_KEY"]
MODEL = "gpt-4o"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}


def ask(text):
    return [{"role": "user", "content": text}]


class Suite:
    """What is the same for both of them."""

    def test_chats(self):
        self.assertEqual(self.chat("hello"), "hello")

    def test_streams(self):
        self.assertEqual([piece for piece in self.stream("hello") if piece], ["hel", "lo"])

    def test_is_told_once_what_failed_and_which_request_it_was(self):
        for wish, status, kind in [
            ("fail", 503, self.api.InternalServerError),
            ("refuse", 400, self.api.BadRequestError),
        ]:
            with self.assertRaises(kind) as raised:
                self.chat(wish)
            self.assertEqual(raised.exception.status_code, status)
            self.assertRegex(raised.exception.request_id, "^req_")

    def test_a_wrong_key_and_an_unknown_model_have_their_classes(self):
        with self.assertRaises(self.api.AuthenticationError):
            self.made(api_key="wrong").models.list()
        with self.assertRaises(self.api.NotFoundError):
            self.chat("hello", model="nobody")

    def test_is_told_when_a_stream_breaks(self):
        told = []
        with self.assertRaises(Exception) as raised:
            for piece in self.stream("break"):
                told.append(piece)
        self.assertNotIsInstance(raised.exception, AssertionError)
        self.assertEqual("".join(told), "half")

    def test_leaves_a_stream(self):
        stream = self.opened("hang")
        for _ in stream:
            break
        stream.close()

    def test_leaves_a_call(self):
        with self.assertRaises(self.api.APITimeoutError):
            self.chat("hang", timeout=1)

    def test_lists_the_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["auto", "gpt-4o", "embed"])

    def test_works_without_threads(self):
        async def hello():
            async with self.made(asynchronous=True) as client:
                return await self.chat_with(client, "hello")

        self.assertEqual(self.text(asyncio.run(hello())), "hello")

    def setUp(self):
        self.client = self.made()
        self.addCleanup(self.client.close)

    def chat(self, text, **more):
        return self.text(self.chat_with(self.client, text, **more))


class OpenAI(Suite, unittest.TestCase):
    api = openai

    def made(self, api_key=KEY, asynchronous=False):
        kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return kind(base_url=f"{URL}/v1", api_key=api_key)

    def chat_with(self, client, text, model=MODEL, timeout=30, **more):
        return client.with_options(timeout=timeout, **self.retries(timeout)).chat.completions.create(
            model=model, messages=ask(text), **more
        )

    @staticmethod
    def retries(timeout):
        # Whoever leaves by a timeout would come back twice.
        return {"max_retries": 0} if timeout < 30 else {}

    @staticmethod
    def text(completion):
        return completion.choices[0].message.content

    def opened(self, text):
        return self.chat_with(self.client, text, stream=True)

    def stream(self, text):
        for chunk in self.opened(text):
            yield chunk.choices[0].delta.content or ""

    def test_calls_a_tool_and_hands_back_what_it_said(self):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
        create = self.client.chat.completions.create
        first = create(model=MODEL, messages=ask("weather"), tools=tools).choices[0].message
        (call,) = first.tool_calls
        self.assertEqual((call.function.name, call.function.arguments), ("weather", '{"city":"Oslo"}'))
        result = {"role": "tool", "tool_call_id": call.id, "content": "3 °C"}
        last = create(model=MODEL, messages=[*ask("weather"), first, result], tools=tools)
        self.assertEqual(self.text(last), "cold")

    def test_makes_vectors(self):
        data = self.client.embeddings.create(model="embed", input=["a", "b"]).data
        self.assertEqual([each.embedding for each in data], [[0.25, -1.5, 3], [1, 2, 3]])

    def test_answers_in_the_responses_api(self):
        self.assertEqual(self.client.responses.create(model=MODEL, input="hello").output_text, "hello")
        with self.client.responses.stream(model=MODEL, input="hello") as stream:
            self.assertEqual(stream.get_final_response().output_text, "hello")


class Anthropic(Suite, unittest.TestCase):
    api = anthropic

    def made(self, api_key=KEY, asynchronous=False):
        kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return kind(base_url=URL, api_key=api_key)

    def chat_with(self, client, text, model=MODEL, timeout=30, **more):
        return client.with_options(timeout=timeout, **OpenAI.retries(timeout)).messages.create(
            model=model, max_tokens=100, messages=ask(text), **more
        )

    @staticmethod
    def text(message):
        return message.content[0].text

    def opened(self, text):
        return self.chat_with(self.client, text, stream=True)

    def stream(self, text):
        for event in self.opened(text):
            if event.type == "content_block_delta":
                yield event.delta.text

    def test_calls_a_tool_and_hands_back_what_it_said(self):
        tools = [{"name": "weather", "input_schema": WEATHER}]
        create = self.client.messages.create
        first = create(model=MODEL, max_tokens=100, messages=ask("weather"), tools=tools)
        (call,) = [block for block in first.content if block.type == "tool_use"]
        self.assertEqual((call.name, call.input), ("weather", {"city": "Oslo"}))
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "3 °C"}]}
        messages = [*ask("weather"), {"role": "assistant", "content": first.content}, result]
        last = create(model=MODEL, max_tokens=100, messages=messages, tools=tools)
        self.assertEqual(self.text(last), "cold")

    def test_counts_tokens(self):
        counted = self.client.messages.count_tokens(model=MODEL, messages=ask("hello"))
        self.assertGreater(counted.input_tokens, 3)


if __name__ == "__main__":
    unittest.main()
