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
const complain = (kind, text, url = '') => complaints.push({ kind, text, url })

// What a page must never do, seen from inside: a violation of its policy, a script of somebody else that ran.
const WATCH = () => {
  document.addEventListener('securitypolicyviolation', event => {
    console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`)
  })
}

// Code comes as the text of a function; playwright would take that for an expression.
const called = (code, argument) => `(${code})(${JSON.stringify(argument) ?? ''})`

const COMMANDS = {
  async open ({ width = 1280, height = 900, dark = false, language = 'en-GB', theme }) {
    await COMMANDS.leave()
    const context = await browser.newContext({ viewport: { width, height }, locale: language, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce' })
    context.setDefaultTimeout(PATIENCE)
    await context.addInitScript(WATCH)
    page = await context.newPage()
    complaints = []
    changes = []
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
