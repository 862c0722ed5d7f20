// Sends through the unchanged npm package @segment/analytics-node.
import { Analytics } from '@segment/analytics-node'

const [, , host] = process.argv
const analytics = new Analytics({ writeKey: 'dev-server', host, path: '/v1/batch' })
analytics.on('error', (error) => {
  console.error(error)
  process.exitCode = 1
})
analytics.identify({ userId: 'node-1', traits: { email: 'node-1@example.org', first_name: 'Nora' } })
analytics.track({ userId: 'node-1', event: 'Abandoned Cart', properties: { cart_id: 'n1', cart_total: 99 } })
analytics.track({ userId: 'node-1', event: 'Something Unheard Of', properties: {} })
await analytics.closeAndFlush()
