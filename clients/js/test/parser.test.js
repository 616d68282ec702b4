// The event stream format, by the WHATWG's text.
import assert from "node:assert/strict"
import { test } from "node:test"

import { Parser } from "../src/parser.js"

const encoder = new TextEncoder()

function parse(text, size = Infinity, parser = new Parser()) {
  const bytes = typeof text === "string" ? encoder.encode(text) : text
  const blocks = []
  for (let from = 0; from < bytes.length; from += size) blocks.push(...parser.feed(bytes.subarray(from, from + size)))
  return blocks
}

const block = (data, id = "", event = "message") => ({ id, event, data })

const CASES = {
  "one event": ["data: a\n\n", [block("a")]],
  "several lines of data": ["data: a\ndata:\ndata: b\n\n", [block("a\n\nb")]],
  "only one space is taken off": ["data:  a \n\ndata:b\n\n", [block(" a "), block("b")]],
  "carriage returns": ["data: a\rdata: b\r\rdata: c\r\r", [block("a\nb"), block("c")]],
  "both": ["data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", [block("a\nb"), block("c")]],
  "a mixture": ["data: a\r\n\ndata: b\n\r\n", [block("a"), block("b")]],
  "a byte order mark": ["\ufeffdata: a\n\n", [block("a")]],
  "only the first mark": ["\ufeff\ufeffdata: a\n\ndata: b\n\n", [block("b")]],
  "comments": [": hello\n\n:\ndata: a\n: b\n\n", [block("a")]],
  "a field without a colon": ["data\n\ndata\ndata\n\n", [block(""), block("\n")]],
  "empty data": ["data:\n\n", [block("")]],
  "no data is no event": ["event: x\n\ndata: a\n\n", [block("a")]],
  "names of events hold for one": ["event: x\ndata: a\n\ndata: b\n\n", [block("a", "", "x"), block("b")]],
  "ids hold until the next": ["id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", [block("a", "1"), block("b", "1"), block("c")]],
  "an id with NUL is none": ["id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", [block("a", "1"), block("b", "1")]],
  "an id alone moves": ["id: 1\n\ndata: a\n\n", [block(undefined, "1"), block("a", "1")]],
  "unknown fields, and other spellings": ["Data: x\n data: x\ndata : x\nfoo: x\ndata: a\n\n", [block("a")]],
  "what is not finished is none": ["data: a\n\nid: 2\ndata: b\n", [block("a")]],
  "colons and marks in data": ["data: : a: \ufeff\n\n", [block(": a: \ufeff")]],
  "any script": ["data: Grüße 你好 🌊 👩‍👩‍👧\n\n", [block("Grüße 你好 🌊 👩‍👩‍👧")]],
  "line ends of other standards": ["data: a\u2028b\u0085c\u000bd\n\n", [block("a\u2028b\u0085c\u000bd")]],
}

for (const [name, [text, blocks]] of Object.entries(CASES)) {
  test(`${name}, whole and in pieces of every size`, () => {
    const length = encoder.encode(text).length
    for (let size = 1; size <= length; size++) assert.deepEqual(parse(text, size), blocks, `in pieces of ${size}`)
  })
}

test("every cut in two of everything at once", () => {
  const text = Object.values(CASES).map(([text]) => text).join("\n\n")
  const bytes = encoder.encode(text)
  const whole = parse(bytes)
  assert.ok(whole.length > 20)
  for (let cut = 0; cut <= bytes.length; cut++) {
    const parser = new Parser()
    const halves = [...parser.feed(bytes.subarray(0, cut)), ...parser.feed(bytes.subarray(cut))]
    assert.deepEqual(halves, whole, `cut at ${cut}`)
  }
})

test("bytes that are no UTF-8 are replaced, and harm nothing else", () => {
  const bytes = Uint8Array.from([...encoder.encode("data: a"), 0xff, 0xc3, ...encoder.encode("\n\ndata: b\n\n")])
  for (const size of [1, 3, 100]) assert.deepEqual(parse(bytes, size), [block("a\ufffd\ufffd"), block("b")])
})

test("retry is digits alone, and may come without an event", () => {
  for (const [text, retry] of [["retry: 120\n", 120], ["retry: 1s\n", undefined], ["retry: -1\n", undefined], ["retry\n", undefined]]) {
    const parser = new Parser()
    assert.deepEqual(parse(text, 1, parser), [])
    assert.equal(parser.retry, retry, text)
  }
})

test("the last connection's id holds on", () => {
  assert.deepEqual(parse("data: a\n\n", 1, new Parser("7")), [block("a", "7")])
})

test("an event without end is refused, in one line or in many", () => {
  const line = encoder.encode("data: " + "x".repeat(50) + "\n")
  const endless = encoder.encode("x".repeat(50))
  for (const piece of [line, endless]) {
    const parser = new Parser("", 1000)
    let fed = 0
    assert.throws(() => {
      for (; fed < 100; fed++) parser.feed(piece)
    }, { code: "event_too_large" })
    assert.ok(fed > 10 && fed < 30, `after ${fed} pieces`)
  }
})

test("many events of that size are none of its business", () => {
  const parser = new Parser("", 1000)
  const event = encoder.encode("data: " + "x".repeat(600) + "\n\n")
  for (let count = 0; count < 100; count++) assert.equal(parser.feed(event).length, 1)
})
