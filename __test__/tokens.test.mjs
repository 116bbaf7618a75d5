// How many tokens something is, held against OpenAI's own counts.

import { describe, it } from 'node:test'
import assert from 'node:assert/strict'
import { get_encoding } from 'tiktoken'
import { Upstream, chunk, ok, sse } from './support/upstream.mjs'
import { ask, drain, openPool, poolOf, provider, rejection } from './support/pool.mjs'
import { runNode } from './support/child.mjs'
import { bounded } from './support/wait.mjs'

/** Sentences in many scripts, code, emoji, and what people get wrong. */
const SAMPLES = [
  'The quick brown fox jumps over the lazy dog.',
  "We're sure they'll say it's DON'T, CAN'T, I'D'VE — y'all'd've known.",
  'Ünïcödé Straße, façade, naïve coöperation; œuvre, Ærø, İstanbul, ǅ ǈ ǋ',
  'Быстрая коричневая лиса перепрыгивает через ленивую собаку. Ёж!',
  'Η γρήγορη καφετιά αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.',
  'השועל החום המהיר קופץ מעל הכלב העצלן. שָׁלוֹם',
  'الثعلب البني السريع يقفز فوق الكلب الكسول. السَّلَامُ عَلَيْكُمْ ١٢٣٤٥',
  'तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। १२३४',
  'দ্রুত বাদামী শিয়াল অলস কুকুরের উপর লাফ দেয়।',
  'வேகமான பழுப்பு நரி சோம்பேறி நாயின் மீது குதிக்கிறது.',
  'สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ',
  '敏捷的棕色狐狸跳过了懒狗。今天天气怎么样？２０２６年１１月',
  '素早い茶色の狐がのろまな犬を飛び越える。カタカナ、ｶﾀｶﾅ、ひらがな',
  '빠른 갈색 여우가 게으른 개를 뛰어넘는다. ㅋㅋㅋ',
  'სწრაფი ყავისფერი მელა ზარმაც ძაღლს ახტება',
  'Արագ շագանակագույն աղվեսը ցատկում է ծույլ շան վրայով',
  'ፈጣኑ ቡናማ ቀበሮ ሰነፉን ውሻ ዘለለ',
  'ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᐃᓄᒃᑎᑐᑦ ខ្មែរ ລາວ မြန်မာ སྐད་ཡིག',
  'Con cáo nâu nhanh nhẹn nhảy qua con chó lười biếng. Tiếng Việt có dấu.',
  '👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪🇯🇵 😀😃😄 1️⃣ ☕️ ✈︎',
  'e\u0301 a\u030a\u0323 z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324a\u0300\u0301\u0302\u0303',
  '\u200b zero\u200dwidth \ufeff bom \u00a0 nbsp \u3000 ideographic \u2028 line \u2029 para \u0085 nel',
  '𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒮𝒸𝓇𝒾𝓅𝓉 𝟘𝟙𝟚 𐍈𐌰𐌿𐍄 𒀀𒁀 🜁 ½ ² Ⅷ ㊙',
  'fn main() -> Result<(), Box<dyn Error>> {\n\tlet x = 0xFF_u8;\n\tprintln!("{x:?}");\n\tOk(())\n}\n',
  'for (let i = 0; i < 10; ++i) { await sleep(1e3) } // TODO\r\n/* c */ const re = /^[a-z]+$/giu\r\n',
  'def f(a, *args, **kw):\n    """Doc."""\n    return {k: v for k, v in kw.items() if v != None}\n\n\n',
  'SELECT id, COUNT(*) FROM "orders" WHERE total >= 1000.50 AND name LIKE \'%x%\' GROUP BY 1;',
  '{"a":[1,2,{"b":null}],"c":"\\u00e9\\n","d":1.0e-10,"e":true}',
  '<div class="a b-c" data-x=\'1\'>&nbsp;<br/></div>\n<!-- c -->',
  '# Title\n\n- [x] item **bold** `code`\n\n```sh\n$ npm i --save-dev x@^1.2.3\n```\n| a | b |\n|---|---|\n',
  'https://example.com/a/b?c=d&e=%20f#g user@example.com 192.168.0.1 C:\\Users\\me ~/x/../y',
  '1234567890 3.14159 1,000,000 0b1010 12:34:56.789 2026-11-26T00:00:00Z +49 30 123456',
  '   leading,   many    inner     spaces and trailing   ',
  '\t\ttabs\t \t mixed \n \n\n  \r\n \r \n\t\n end\n',
  '<|endoftext|> <|im_start|>user<|im_sep|> <|fim_prefix|>',
  '....!!!???---___***===~~~```"""\'\'\'((([[[{{{<<<>>>}}}]]])))',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
  'HTTPServerXMLParserURLs camelCaseWordsAndSHOUTINGwords snake_case_words kebab-case',
  "L'été, c'est d'où qu'il vient; aujourd'hui’s ‘curly’ “quotes” … — – ‐",
  'a\u{10ffff}\u{1f600}\u0000\u0001\u007f\u001b[31mred\u001b[0m',
]

/** The same every time: Mulberry32. */
function randomFrom(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** 600 texts: the samples, pieces of them in any order, and letters from anywhere. */
function texts() {
  const random = randomFrom(8)
  const below = (end) => Math.floor(random() * end)
  const found = [...SAMPLES]
  while (found.length < 450) {
    const pieces = Array.from({ length: 1 + below(5) }, () => {
      const letters = [...SAMPLES[below(SAMPLES.length)]]
      const start = below(letters.length)
      return letters.slice(start, start + 1 + below(40)).join('')
    })
    found.push(pieces.join(['', ' ', '\n', '  '][below(4)]))
  }
  while (found.length < 600) {
    const planes = [0x80, 0x250, 0x600, 0x3000, 0x10000, 0x20000]
    const letter = () => String.fromCodePoint(below(planes[below(planes.length)]))
    found.push(
      Array.from({ length: below(60) }, letter)
        .join('')
        .toWellFormed(),
    )
  }
  return found
}

/** OpenAI's own count; words that stand for special tokens are text. */
function counting(t, name) {
  const encoding = get_encoding(name)
  t.after(() => encoding.free())
  return (text) => encoding.encode(text, [], []).length
}

describe('LLMPool tokens', () => {
  it('are those of tiktoken, for 600 texts in both encodings', bounded, async (t) => {
    const pool = await openPool(t, [provider('a', await Upstream.start(t))])
    for (const [encoding, model] of [
      ['o200k_base', 'gpt-4o'],
      ['cl100k_base', 'gpt-4'],
    ]) {
      const count = counting(t, encoding)
      for (const text of texts()) {
        assert.equal(pool.estimateTokens(text, model), count(text), `${encoding}: ${JSON.stringify(text)}`)
      }
    }
  })

  it('of messages are those of the text with what frames it', bounded, async (t) => {
    const pool = await openPool(t, [provider('a', await Upstream.start(t))])
    const count = counting(t, 'o200k_base')
    const messages = [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', name: 'Ann', content: 'What is the capital of France?' },
    ]
    const text = count(messages[0].content) + count('Ann') + count(messages[1].content)
    assert.equal(pool.estimateTokens(messages), text + 2 * 4 + 1 + 3)
    assert.equal(pool.estimateTokens({ messages, model: 'gpt-4o' }), text + 2 * 4 + 1 + 3)
    const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }]
    assert.ok(pool.estimateTokens({ messages, tools }) > text + 12)
  })

  it('of a picture depend on its size, not on its bytes', bounded, async (t) => {
    const pool = await openPool(t, [provider('a', await Upstream.start(t))])
    const png = (width, height, padding) => {
      const head = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex')
      const size = Buffer.alloc(8)
      size.writeUInt32BE(width, 0)
      size.writeUInt32BE(height, 4)
      const data = Buffer.concat([head, size, Buffer.alloc(padding)]).toString('base64')
      return [{ role: 'user', content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } }] }]
    }
    assert.equal(pool.estimateTokens(png(512, 512, 0)), 85 + 170 + 7)
    assert.equal(pool.estimateTokens(png(512, 512, 300_000)), 85 + 170 + 7)
    assert.equal(pool.estimateTokens(png(1024, 1024, 0)), 765 + 7)
  })

  it(
    'are counted by the model that is named, an alias too, and by the first provider otherwise',
    bounded,
    async (t) => {
      const a = await Upstream.start(t)
      const pool = await openPool(t, [provider('a', a, { model: 'gpt-4', models: { new: 'gpt-4o' } })])
      const text = 'Привет, как дела?'
      assert.deepEqual(
        [pool.estimateTokens(text), pool.estimateTokens(text, 'new'), pool.estimateTokens(text, 'gpt-5')],
        [8, 6, 6],
      )
      assert.equal(poolOf(t, [provider('a', a)]).estimateTokens(text), 6) // not initialized
    },
  )

  it('are counted by a tokenizer.json', bounded, async (t) => {
    const a = await Upstream.start(t)
    const tokenizer = new URL('./fixtures/tokenizer.json', import.meta.url).pathname
    const pool = await openPool(t, [provider('a', a, { model: 'own', tokenizer })])
    assert.equal(pool.estimateTokens('the cat sat on the mat'), 6)
    const error = await rejection(poolOf(t, [provider('a', a, { tokenizer: '/no/such.json' })]).initialize())
    assert.equal(error.name, 'ConfigurationError')
    assert.deepEqual(error.problems, [
      { path: 'providers[0].tokenizer', message: '/no/such.json: this file does not exist' },
    ])
  })

  it('are four bytes each when counting is off', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)], { useTokenCounting: false })
    assert.equal(pool.estimateTokens('antidisestablishmentarianism'), 7)
    assert.equal(pool.estimateTokens(ask('abcdefgh')), 2)
    a.next(ok('12345678', { usage: null }))
    const { usage } = await pool.chat(ask('abcdefgh'))
    assert.deepEqual([usage.prompt_tokens, usage.completion_tokens, usage.estimated], [2, 2, true])
  })

  it('that nobody reports are counted here and marked', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)])
    a.next(ok('The quick brown fox.', { usage: null }))
    const { usage, cost } = await pool.chat(ask('Hello, world!'))
    assert.deepEqual([usage.prompt_tokens, usage.completion_tokens, usage.estimated], [4 + 7, 5, true])
    assert.equal(cost, (11 * 2.5 + 5 * 10) / 1e6)
  })

  it('of a stream that is cut are booked as far as it came', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a)], { maxRetries: 0 })
    a.next(
      sse(async (stream) => {
        await stream.push(chunk({ content: 'The quick brown fox.' }))
        await stream.cut()
      }),
    )
    const { error } = await drain(pool.stream(ask('Hello, world!')))
    assert.equal(error.name, 'StreamInterruptedError')
    const { promptTokens, completionTokens } = pool.getProviderStats().a.usage
    assert.equal(completionTokens, 5)
    assert.ok(promptTokens > 7 && promptTokens < 20, `${promptTokens}`)
  })

  it('of other models follow what their provider reports', bounded, async (t) => {
    const a = await Upstream.start(t)
    const pool = await openPool(t, [provider('a', a, { type: 'openai-compatible', model: 'own' })])
    const text = 'a'.repeat(40_000)
    assert.equal(pool.estimateTokens(text), 10_000)
    for (let call = 0; call < 30; call++) {
      a.next(ok('hi', { usage: { prompt_tokens: 8_007, completion_tokens: 1, total_tokens: 8_008 } }))
      await pool.chat(ask(text))
    }
    const learned = pool.estimateTokens(text)
    assert.ok(learned >= 8_000 && learned <= 8_100, `${learned}`)
  })

  it('refuse what is no message, by its field', bounded, async (t) => {
    const pool = await openPool(t, [provider('a', await Upstream.start(t))])
    const thrown = (call) => {
      try {
        call()
      } catch (error) {
        return [error.name, error.field]
      }
      return assert.fail('expected an error')
    }
    assert.deepEqual(
      thrown(() => pool.estimateTokens('a', 5)),
      ['InvalidRequestError', 'model'],
    )
    assert.deepEqual(
      thrown(() => pool.estimateTokens([{ role: 'user', contents: 'a' }])),
      ['InvalidRequestError', 'messages[0].contents'],
    )
    assert.equal(thrown(() => pool.estimateTokens(5))[0], 'InvalidRequestError')
  })

  it('cost no memory before the first count', bounded, async (t) => {
    const { stdout } = await runNode(
      t,
      `const { LLMPool } = await import(ENTRY)
      const config = { providers: [{ name: 'a', type: 'openai', model: 'gpt-4o', api_key: 'k' }] }
      const pool = await LLMPool.create({ config })
      const before = process.memoryUsage.rss()
      pool.estimateTokens('Hello, world!')
      console.log(process.memoryUsage.rss() - before)`,
    )
    // The vocabulary's table, which the first count makes: were it there before, nothing would grow.
    assert.ok(Number(stdout) > 4e6, stdout)
  })
})
