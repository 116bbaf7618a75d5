#!/bin/sh
# A served pool by curl, in the words of each API. `npm run serve:demo` serves one that needs no key.
#
#   sh examples/curl.sh [URL] [KEY]
set -eu
url=${1:-http://127.0.0.1:7071}
key=${2:-unused}

say() {
  printf '\n== %s\n' "$1"
}
ask() {
  path=$1
  shift
  curl --silent --show-error --fail-with-body "$url$path" \
    --header "authorization: Bearer $key" --header 'content-type: application/json' "$@"
  echo
}

say 'What may be asked for'
ask /v1/models

say "OpenAI's chat completions, and who answered"
ask /v1/chat/completions --dump-header - \
  --data '{"model": "auto", "messages": [{"role": "user", "content": "Where is it cold?"}]}'

say 'The same as it comes'
ask /v1/chat/completions --no-buffer \
  --data '{"model": "auto", "stream": true, "messages": [{"role": "user", "content": "Where is it cold?"}]}'

say "OpenAI's responses"
ask /v1/responses --data '{"model": "auto", "input": "Where is it cold?"}'

say "Anthropic's messages"
ask /v1/messages \
  --data '{"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Where is it cold?"}]}'

say 'One attempt of one second, and nobody else'
ask /v1/chat/completions --header 'x-llmpool-timeout-ms: 1000' --header 'x-llmpool-failover: false' \
  --data '{"model": "auto", "messages": [{"role": "user", "content": "Where is it cold?"}]}'

say 'How it does'
ask /health
