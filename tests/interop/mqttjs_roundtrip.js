// MQTT.js against a broker: node mqttjs_roundtrip.js URL TOPIC [CA FILE], for MQTT 3.1, 3.1.1 and 5 one after the other.
// Prints one JSON object per line with what each version saw. Ends with 1 when something does not come in time.
'use strict'
const fs = require('fs')
const mqtt = require('mqtt')

const [url, topic, caFile] = process.argv.slice(2)
const CHECKED = caFile ? { ca: fs.readFileSync(caFile), rejectUnauthorized: true } : {}
const NAMES = { 3: 'MQIsdp', 4: 'MQTT', 5: 'MQTT' }
const QOS = [0, 1, 2]

const once = (client, event) => new Promise((resolve, reject) => {
  client.once(event, (...values) => resolve(values))
  client.once('error', reject)
  client.once('close', () => reject(new Error(`closed instead of ${event}`)))
})

async function roundTrip (version) {
  const here = `${topic}/${version}`
  const client = mqtt.connect(url, {
    ...CHECKED,
    protocolVersion: version,
    protocolId: NAMES[version],
    clientId: `mqttjs-${version}-${process.pid}`,
    reconnectPeriod: 0,
    will: { topic: `${here}/will`, payload: 'gone', qos: 1, retain: false }
  })
  const [connack] = await once(client, 'connect')
  const seen = { version, connack: connack.reasonCode ?? connack.returnCode, received: [] }
  const all = new Promise(resolve => client.on('message', (name, payload, packet) => {
    seen.received.push([name, payload.length, packet.qos, packet.retain, packet.properties?.userProperties ?? null])
    if (seen.received.length === QOS.length + 2) resolve()
  }))

  await client.publishAsync(`${here}/kept`, 'r', { qos: 1, retain: true })
  const granted = await client.subscribeAsync(`${here}/#`, { qos: 2 })
  seen.granted = granted.map(one => one.qos)
  const properties = version === 5 ? { properties: { userProperties: { colour: 'blue' } } } : {}
  for (const qos of QOS) {
    await client.publishAsync(`${here}/${qos}`, Buffer.alloc(20000, qos), { qos, ...properties })
  }
  await client.publishAsync(`${here}/kept`, '', { qos: 1, retain: true })
  await all
  await client.unsubscribeAsync(`${here}/#`)
  await client.endAsync()
  console.log(JSON.stringify(seen))
}

async function main () {
  for (const version of [3, 4, 5]) await roundTrip(version)
}

setTimeout(() => { console.error('too slow'); process.exit(1) }, 15000).unref()
main().catch(error => { console.error(error); process.exit(1) })
