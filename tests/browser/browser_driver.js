// A browser that does what it is told: node browser_driver.js CHROMIUM. Reads one JSON object per line, {"do": NAME, …}, and
// answers each with one line, {"value": …} or {"error": TEXT}. Ends, with the browser, when standard input does.
'use strict'
const fs = require('fs')
const readline = require('readline')
const { chromium } = require('playwright-core')

const PATIENCE = 30000 // milliseconds; a busy machine is slow, not broken
const FLAGS = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']

let browser
let page
let complaints = []
let changes = []
let meddling // how requests are answered otherwise; null: not any more
const complain = (kind, text, url = '') => complaints.push({ kind, text, url })

// What a page must never do, seen from inside: a violation of its policy, a script of somebody else that ran.
const WATCH = () => {
  document.addEventListener('securitypolicyviolation', event => {
    console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`)
  })
}

// Code comes as the text of a function; playwright would take that for an expression.
const called = (code, argument) => `(${code})(${JSON.stringify(argument) ?? ''})`

// Figures of a broker that has a million times as much to do. What is no figure stays: ports, times, numbers of pages.
const NO_FIGURE = /^(qos|port|code|page|limit|proto_ver|at|until|start_at|end_at|\w+_at|duration|priority|order|keepalive|expired|min|max|\w*time)$/
const SMALL = 10000000
function grown (value, name = '') {
  if (Array.isArray(value)) return value.map(one => grown(one, name))
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, grown(inner, key)]))
  if (name === 'uptime') return '4019 days, 23 hours, 59 minutes, 59 seconds'
  return typeof value === 'number' && !NO_FIGURE.test(name) ? SMALL + value + 2345678 : value
}

const COMMANDS = {
  async open ({ width = 1280, height = 900, dark = false, language = 'en-GB', theme }) {
    await COMMANDS.leave()
    const context = await browser.newContext({ viewport: { width, height }, locale: language, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce' })
    context.setDefaultTimeout(PATIENCE)
    await context.addInitScript(WATCH)
    page = await context.newPage()
    complaints = []
    changes = []
    meddling = undefined
    page.on('request', request => { if (request.method() !== 'GET') changes.push(`${request.method()} ${new URL(request.url()).pathname}`) })
    page.on('console', message => { if (['error', 'warning'].includes(message.type())) complain(message.type(), message.text(), message.location().url) })
    page.on('pageerror', error => complain('exception', String(error)))
    page.on('dialog', dialog => { complain('dialog', dialog.message()); dialog.dismiss() })
    page.on('requestfailed', request => complain('request', request.failure().errorText, request.url()))
  },
  leave: async () => { await page?.context().close(); page = undefined },
  goto: ({ url }) => page.goto(url).then(() => undefined),
  click: ({ at, nth = 0 }) => page.locator(at).nth(nth).click(),
  pick: ({ at, base64 }) => page.locator(at).setInputFiles({ name: 'x.zip', mimeType: 'application/octet-stream', buffer: Buffer.from(base64, 'base64') }),
  fill: ({ at, text }) => page.locator(at).fill(text),
  choose: ({ at, value }) => page.locator(at).selectOption(value).then(() => undefined),
  focus: ({ at, nth = 0 }) => page.locator(at).nth(nth).focus(),
  press: ({ key }) => page.keyboard.press(key),
  type: ({ text }) => page.keyboard.type(text),
  wait: ({ at, gone }) => page.locator(at).first().waitFor({ state: gone ? 'detached' : 'visible' }),
  async until ({ code, argument }) { // page.waitForFunction needs eval, which the policy forbids
    for (const end = Date.now() + PATIENCE; !await page.evaluate(called(code, argument));) {
      if (Date.now() > end) throw new Error(`never: ${code}`)
      await page.waitForTimeout(50)
    }
  },
  text: ({ at }) => page.locator(at).first().innerText(),
  texts: ({ at }) => page.locator(at).allInnerTexts(),
  count: ({ at }) => page.locator(at).count(),
  evaluate: ({ code, argument }) => page.evaluate(called(code, argument)),
  resize: ({ width, height }) => page.setViewportSize({ width, height }),
  colours: ({ dark }) => page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' }),
  async download ({ at }) { // presses what saves a file, and reads the file
    const [file] = await Promise.all([page.waitForEvent('download'), page.locator(at).click()])
    return { name: file.suggestedFilename(), text: fs.readFileSync(await file.path(), 'utf8') }
  },
  // The API answers otherwise from now on: with a status, later (ms), not at all (status 0), or with larger figures.
  async meddle ({ pattern, ...how }) {
    const first = meddling === undefined
    meddling = how
    if (!first) return // a route stays until the page is left: a request that waits while it is removed waits for ever
    await page.route(pattern, async route => {
      const { status, body = {}, late = 0, grow = false } = meddling ?? {}
      if (late) await new Promise(resolve => setTimeout(resolve, late))
      if (status === 0) return route.abort().catch(() => {})
      if (status) return route.fulfill({ status, json: body }).catch(() => {})
      if (!grow) return route.continue().catch(() => {})
      try {
        const response = await route.fetch()
        const { data, ...rest } = await response.json()
        await route.fulfill({ response, json: { ...rest, data: grown(data) } })
      } catch { await route.abort().catch(() => {}) } // the page was left
    })
  },
  meddleNoMore () { meddling = null },
  post: ({ url, body }) => page.request.post(url, { data: body }).then(answer => answer.status()),
  picture: ({ file, whole = false }) => page.screenshot({ path: file, fullPage: whole }).then(() => undefined),
  changes () { const found = changes; changes = []; return found },
  complaints () { const found = complaints; complaints = []; return found },
}

// A page whose script never returns answers nothing, not even that it is too late.
const inTime = act => {
  let timer
  const late = new Promise((resolve, reject) => { timer = setTimeout(() => reject(new Error('the page hangs')), 2 * PATIENCE) })
  return Promise.race([act, late]).finally(() => clearTimeout(timer))
}

async function main () {
  browser = await chromium.launch({ executablePath: process.argv[2], args: FLAGS, chromiumSandbox: false })
  console.log(JSON.stringify({ value: browser.version() }))
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: name, ...rest } = JSON.parse(line)
    let answer
    try { answer = { value: await inTime(COMMANDS[name](rest)) ?? null } } catch (error) { answer = { error: `${name}: ${error.message}` } }
    console.log(JSON.stringify(answer))
  }
  await browser.close()
}

main().catch(error => { console.error(error); process.exit(1) })
